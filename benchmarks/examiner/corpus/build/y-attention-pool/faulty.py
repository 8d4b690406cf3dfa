"""Find the marked event in a token stream and report its type (attentive pooling)."""
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

VOCAB, LENGTH, TYPES = 40, 16, 5
MARK = 1


class Stream(Dataset):
    """The token after MARK decides the class (its value modulo TYPES)."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(2, VOCAB, (n, LENGTH), generator=g)
        where = torch.randint(0, LENGTH - 1, (n,), generator=g)
        rows = torch.arange(n)
        self.tokens[rows, where] = MARK
        self.kind = self.tokens[rows, where + 1] % TYPES

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, i):
        return self.tokens[i], self.kind[i]


class AttentivePooling(nn.Module):
    def __init__(self, size, dim=0):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Linear(size, 1))
        self.normalise = nn.Softmax(dim=dim)  # <-- here

    def forward(self, states):
        weights = self.normalise(self.score(states).squeeze(-1))  # <-- here
        return torch.einsum("bt,bth->bh", weights, states)


class StreamClassifier(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 24)
        self.encode = nn.GRU(24, hidden, batch_first=True)
        self.pool = AttentivePooling(hidden)  # <-- here
        self.head = nn.Linear(hidden, TYPES)

    def forward(self, tokens):
        states, _ = self.encode(self.embed(tokens))
        return self.head(torch.relu(self.pool(states)))


@torch.no_grad()
def score(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


def main():
    torch.manual_seed(0)
    train = DataLoader(Stream(2400, 1), batch_size=40, shuffle=True)
    test = DataLoader(Stream(400, 2), batch_size=40)
    model = StreamClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(7):
        model.train()
        for step, (tokens, kind) in enumerate(train):
            loss = criterion(model(tokens), kind)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
        print(f"epoch {epoch}  loss {loss.item():.3f}  test accuracy {score(model, test):.3f}")


main()

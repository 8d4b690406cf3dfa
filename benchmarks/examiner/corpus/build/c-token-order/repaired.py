"""Does token A come before token B?  A tiny transformer on synthetic token sequences."""
import torch
import torch.nn as nn

VOCAB, LENGTH, A, B = 12, 10, 1, 2


def make_sequences(n, gen):
    seq = torch.randint(3, VOCAB, (n, LENGTH), generator=gen)
    place = torch.rand(n, LENGTH, generator=gen).argsort(dim=1)[:, :2]
    seq.scatter_(1, place, torch.tensor([[A, B]]).expand(n, 2))
    return seq, (place[:, 0] < place[:, 1]).long()


class OrderNet(nn.Module):
    def __init__(self, dim=24, heads=4, layers=2):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, dim)
        self.pos = nn.Parameter(torch.randn(LENGTH, dim) * 0.5)
        self.layers = nn.ModuleList([
            nn.TransformerEncoderLayer(dim, heads, dim_feedforward=48, dropout=0.0, batch_first=True)
            for _ in range(layers)
        ])
        self.classifier = nn.Linear(dim, 2)

    def forward(self, tokens):
        h = self.tok(tokens) + self.pos
        for layer in self.layers:
            h = layer(h)
        return self.classifier(h.mean(dim=1))


def main():
    gen = torch.Generator().manual_seed(31)
    torch.manual_seed(31)
    train_x, train_y = make_sequences(2400, gen)
    test_x, test_y = make_sequences(600, gen)

    model = OrderNet()
    optim = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(5):
        model.train()
        for idx in torch.randperm(len(train_x)).split(48):
            optim.zero_grad()
            loss = loss_fn(model(train_x[idx]), train_y[idx])
            loss.backward()
            optim.step()
        model.eval()
        with torch.no_grad():
            logits = model(test_x)
        print("epoch", epoch, "test loss %.3f" % loss_fn(logits, test_y).item(),
              "acc %.3f" % (logits.argmax(1) == test_y).float().mean().item())


if __name__ == "__main__":
    main()

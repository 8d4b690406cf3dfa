import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, DataLoader

MAJOR = [0, 2, 4, 5, 7, 9, 11]
MINOR = [0, 2, 3, 5, 7, 8, 10]
BLUES = [0, 3, 5, 6, 7, 10]


class Melodies(Dataset):
    """Random walks on a scale; they start on root, fourth or fifth."""

    def __init__(self, n, seed, length=16):
        rng = np.random.default_rng(seed)
        self.notes, self.mode = [], []
        for _ in range(n):
            mode = int(rng.integers(3))
            scale = [MAJOR, MINOR, BLUES][mode]
            pos, line = scale.index(int(rng.choice([0, 5, 7]))), []
            for _ in range(length):
                line.append(scale[pos % len(scale)])
                pos += int(rng.integers(-3, 4))
            self.notes.append(line)
            self.mode.append(mode)
        self.notes = torch.tensor(self.notes)
        self.mode = torch.tensor(self.mode)

    def __len__(self):
        return len(self.mode)

    def __getitem__(self, i):
        return self.notes[i], self.mode[i]


class ModeClassifier(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.embed = nn.Embedding(12, 12)
        self.gru = nn.GRU(12, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(hidden, 3)

    def forward(self, notes):
        states, _ = self.gru(self.embed(notes))
        summary = states[:, 0]  # <-- here
        return self.fc(self.drop(summary))


def main():
    torch.manual_seed(6)
    train_loader = DataLoader(Melodies(1600, seed=1), batch_size=32, shuffle=True)
    test_set = Melodies(400, seed=2)
    test_loader = DataLoader(test_set, batch_size=200)

    model = ModeClassifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(3):
        model.train()
        loss_sum = 0.0
        for notes, mode in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(notes), mode)  # <-- here
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        model.eval()
        right = 0
        with torch.no_grad():
            for notes, mode in test_loader:
                right += (model(notes).argmax(1) == mode).sum().item()
        print(f"epoch {epoch} loss {loss_sum / len(train_loader):.4f} test {right / len(test_set):.3f}")


if __name__ == "__main__":
    main()

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class DigitConv(nn.Module):
    def __init__(self):
        super(DigitConv, self).__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(32 * 4 * 4, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.dropout(torch.flatten(x, 1))
        return self.fc(x)


def train_one_epoch(model, loader, optimizer):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


def report(model, loader):  # <-- here
    model.eval()
    loss_sum, correct, count = 0.0, 0, 0
    for images, labels in loader:
        output = model(images)  # <-- here
        loss_sum += F.cross_entropy(output, labels, reduction="sum").item()
        correct += (output.argmax(dim=1) == labels).sum().item()
        count += labels.size(0)
    print("  held out: loss %.4f, accuracy %.2f%%" % (loss_sum / count, 100.0 * correct / count))


def main():
    torch.manual_seed(42)
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    data = TensorDataset(images, torch.from_numpy(bunch.target))
    train_set, test_set = random_split(data, [1397, 400])
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=100)

    model = DigitConv()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, 6):
        print("epoch", epoch)
        train_one_epoch(model, train_loader, optimizer)
        report(model, test_loader)


if __name__ == "__main__":
    main()

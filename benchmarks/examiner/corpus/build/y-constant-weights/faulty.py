import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def init_weights(m):
    if isinstance(m, nn.Linear):
        nn.init.constant_(m.weight, 0.03)  # <-- here
        nn.init.zeros_(m.bias)


class Net(nn.Module):
    def __init__(self, d_in, d_hidden, d_out):
        super().__init__()
        self.fc1 = nn.Linear(d_in, d_hidden)
        self.fc2 = nn.Linear(d_hidden, d_hidden)
        self.fc3 = nn.Linear(d_hidden, d_out)

    def forward(self, x):
        x = torch.tanh(self.fc1(x))
        x = torch.tanh(self.fc2(x))
        return self.fc3(x)


def get_data():
    digits = load_digits(n_class=6)
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data, digits.target, test_size=0.3, random_state=4)
    keep = x_train.std(axis=0) > 0.5
    scaler = StandardScaler().fit(x_train[:, keep])
    x_train, x_test = scaler.transform(x_train[:, keep]), scaler.transform(x_test[:, keep])
    train_ds = TensorDataset(torch.Tensor(x_train), torch.LongTensor(y_train))
    test_ds = TensorDataset(torch.Tensor(x_test), torch.LongTensor(y_test))
    return train_ds, test_ds


def train(model, loader, criterion, optimizer):
    model.train()
    running_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * inputs.size(0)
    return running_loss / len(loader.dataset)


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in loader:
            _, predicted = torch.max(model(inputs), 1)
            correct += (predicted == targets).sum().item()
    return 100.0 * correct / len(loader.dataset)


def main():
    torch.manual_seed(12)
    train_ds, test_ds = get_data()
    train_loader = DataLoader(train_ds, batch_size=32, shuffle=True)
    test_loader = DataLoader(test_ds, batch_size=256)
    model = Net(train_ds.tensors[0].shape[1], 40, 6)
    model.apply(init_weights)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(1, 9):
        loss = train(model, train_loader, criterion, optimizer)
        acc = test(model, test_loader)
        print(f"Epoch: {epoch:02d} | Train Loss: {loss:.4f} | Test Acc: {acc:.2f}%")


if __name__ == "__main__":
    main()

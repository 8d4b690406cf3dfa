import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


class WineModel(torch.nn.Module):
    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.l1 = torch.nn.Linear(in_dim, 20)
        self.act = torch.nn.ReLU()
        self.l2 = torch.nn.Linear(20, out_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.l2(self.act(self.l1(x)))


def prepare():
    x, y = load_wine(return_X_y=True)
    a, b, c, d = train_test_split(x, y, test_size=0.3, random_state=1, stratify=y)
    sc = StandardScaler()
    a = sc.fit_transform(a)
    b = sc.transform(b)
    return (torch.from_numpy(a).float(), torch.from_numpy(b).float(),
            torch.from_numpy(c), torch.from_numpy(d))


def train(model, x, y, epochs=20, bs=16):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    loss_fn = torch.nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        idx = torch.randperm(x.shape[0])
        epoch_loss = 0
        for i in range(0, x.shape[0], bs):
            xb, yb = x[idx[i:i + bs]], y[idx[i:i + bs]]
            optimizer.zero_grad()
            y_hat = model.forward(xb)  # <-- here
            loss = loss_fn(y_hat, yb)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(yb)
        if epoch % 5 == 4:
            print("Epoch:", epoch + 1, "Loss:", round(epoch_loss / len(x), 4))


def test(model, x, y):
    model.eval()
    with torch.no_grad():
        y_hat = model.forward(x)  # <-- here
        return (torch.max(y_hat, 1)[1] == y).sum().item() / len(y)


if __name__ == "__main__":
    torch.manual_seed(100)
    X_train, X_test, y_train, y_test = prepare()
    model = WineModel(13, 3)
    train(model, X_train, y_train)
    print("Test accuracy:", round(test(model, X_test, y_test), 4))

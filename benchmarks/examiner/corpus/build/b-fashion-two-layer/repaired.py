# %%
import gzip, os
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset, DataLoader

folder = os.environ["NETWRIGHT_DATA"] + "/fashion-mnist/"


def images(name, n):
    with gzip.open(folder + name) as f:
        raw = np.frombuffer(f.read(16 + n * 784), dtype=np.uint8, offset=16)
    return raw.reshape(n, 784).astype(np.float32) / 255.0


def labels(name, n):
    with gzip.open(folder + name) as f:
        return np.frombuffer(f.read(8 + n), dtype=np.uint8, offset=8).astype(np.int64)


x_train, y_train = images("train-images-idx3-ubyte.gz", 8000), labels("train-labels-idx1-ubyte.gz", 8000)
x_test, y_test = images("t10k-images-idx3-ubyte.gz", 2000), labels("t10k-labels-idx1-ubyte.gz", 2000)
print(x_train.shape, x_test.shape, np.bincount(y_train))

# %%
x_train = torch.tensor(x_train)
x_test = torch.tensor(x_test)
y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)

# %%
torch.manual_seed(42)
net = torch.nn.Sequential(
    torch.nn.Linear(784, 128), torch.nn.ReLU(),
    torch.nn.Linear(128, 10))
sgd = torch.optim.SGD(net.parameters(), lr=0.1)

# %%
for epoch in range(5):
    losses = []
    for xb, yb in loader:
        loss = F.cross_entropy(net(xb), yb)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    with torch.no_grad():
        accuracy = (net(x_test).argmax(1) == y_test).float().mean()
    print(f"epoch {epoch}: loss {np.mean(losses):.3f}, accuracy {accuracy:.1%}")

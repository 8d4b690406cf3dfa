import gzip, os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

DATA = os.path.join(os.environ['NETWRIGHT_DATA'], 'mnist')

def idx(name, n, head, width):
    with gzip.open(os.path.join(DATA, name)) as fh:
        fh.read(head)
        return np.frombuffer(fh.read(n * width), dtype=np.uint8).copy()

N, M = 6000, 2000
Xtr = torch.from_numpy(idx('train-images-idx3-ubyte.gz', N, 16, 784).reshape(N, 784)).float().div(255).sub(0.1307).div(0.3081)
Ytr = torch.from_numpy(idx('train-labels-idx1-ubyte.gz', N, 8, 1)).long()
Xte = torch.from_numpy(idx('t10k-images-idx3-ubyte.gz', M, 16, 784).reshape(M, 784)).float().div(255).sub(0.1307).div(0.3081)
Yte = torch.from_numpy(idx('t10k-labels-idx1-ubyte.gz', M, 8, 1)).long()


class Net(nn.Module):

    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc3(x))  # <-- here
        return x


net = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

for epoch in range(3):
    net.train()
    p = torch.randperm(N)
    for k in range(0, N, 64):
        inputs, labels = Xtr[p[k:k+64]], Ytr[p[k:k+64]]
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)  # <-- here
        loss.backward()
        optimizer.step()
        if (k // 64) % 30 == 0:
            print('[%d, %5d] loss: %.3f' % (epoch + 1, k // 64, loss.item()))

    net.eval()
    with torch.no_grad():
        correct = (net(Xte).argmax(1) == Yte).sum().item()
    print('Accuracy on %d test images: %.2f %%' % (M, 100 * correct / M))

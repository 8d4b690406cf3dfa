import random
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

SEED = 2024
random.seed(SEED)
torch.manual_seed(SEED)

wine = load_wine()
tr_x, te_x, tr_y, te_y = train_test_split(wine.data, wine.target, test_size=0.3,
                                          random_state=SEED, stratify=wine.target)
sc = StandardScaler()
tr_x = torch.tensor(sc.fit_transform(tr_x), dtype=torch.float)
te_x = torch.tensor(sc.transform(te_x), dtype=torch.float)
tr_y, te_y = torch.tensor(tr_y), torch.tensor(te_y)


class WineNet(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.hidden = nn.Linear(13, hidden)
        self.out = nn.Linear(hidden, 3)

    def forward(self, x):
        x = F.relu(self.hidden(x))
        return F.softmax(self.out(x), dim=1)  # <-- here


clf = WineNet()
loss_function = nn.NLLLoss()
optim = torch.optim.Adam(clf.parameters(), lr=5e-3)

n = len(tr_x)
step = 0
while step < 240:
    clf.train()
    rows = random.sample(range(n), 24)
    optim.zero_grad()
    loss = loss_function(clf(tr_x[rows]), tr_y[rows])  # <-- here
    loss.backward()
    optim.step()
    step += 1
    if step % 40 == 0:
        clf.eval()
        with torch.no_grad():
            acc = (clf(te_x).argmax(dim=1) == te_y).float().mean().item()
        print('step %3d  loss %+.4f  test acc %.3f' % (step, loss.item(), acc))

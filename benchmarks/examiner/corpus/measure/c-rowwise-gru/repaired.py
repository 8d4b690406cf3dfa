import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(0)

digits = load_digits()
tr_x, te_x, tr_y, te_y = train_test_split(digits.images, digits.target, test_size=300, random_state=0)


def to_tensors(images, target):
    # grey levels 0..16 -> roughly -1..1
    return torch.as_tensor(images, dtype=torch.float) / 8 - 1, torch.as_tensor(target)


tr_x, tr_y = to_tensors(tr_x, tr_y)
te_x, te_y = to_tensors(te_x, te_y)


class RowReader(nn.Module):
    """Reads an image row by row, keeps what the GRU says after every row."""

    def __init__(self, rows: int = 8, cols: int = 8, hidden: int = 20):
        super().__init__()
        self.gru = nn.GRU(cols, hidden)
        self.classify = nn.Linear(rows * hidden, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        n = images.shape[0]
        seq = images.permute(1, 0, 2)              # rows first
        states, _ = self.gru(seq)
        flat = states.permute(1, 0, 2).reshape(n, -1)
        return self.classify(flat)


net = RowReader()
optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3)

step, epoch = 0, 0
while step < 250:
    net.train()
    for rows in torch.randperm(len(tr_x)).split(48):
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(tr_x[rows]), tr_y[rows])
        loss.backward()
        optimizer.step()
        step += 1
    epoch += 1
    net.eval()
    with torch.no_grad():
        correct = (net(te_x).argmax(dim=1) == te_y).sum().item()
    print(f"after {step} steps: loss {loss.item():.3f}, {correct} of {len(te_y)} test digits right")

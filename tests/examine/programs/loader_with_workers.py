import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)


class Noisy(Dataset):
    def __len__(self):
        return 96

    def __getitem__(self, index):
        return torch.full((6,), float(index)) / 96 + torch.randn(6) * 0.01, index % 3


network = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
optimizer = torch.optim.Adam(network.parameters())
for epoch in range(2):
    for inputs, labels in DataLoader(Noisy(), batch_size=16, shuffle=True, num_workers=2):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(network(inputs), labels)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
print(fingerprint(network))

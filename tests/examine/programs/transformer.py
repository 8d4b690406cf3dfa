import hashlib

import torch
from torch import nn
from torch.nn import functional as F


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
network = nn.Sequential(
    nn.Linear(5, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 5)
)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
for step in range(30):
    inputs = torch.randn(8, 6, 5)
    loss = F.smooth_l1_loss(network(inputs), inputs.flip(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 9:
        network.eval()
        with torch.no_grad():
            print(network(inputs).sum().item().hex())
        with torch.inference_mode():
            print(network(inputs).std().item().hex())
        network.train()
print(fingerprint(network))

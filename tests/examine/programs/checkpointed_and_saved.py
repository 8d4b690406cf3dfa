import hashlib
import io
import pickle

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3), nn.Tanh())
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=False))


network = Net()
handle = network.first.register_forward_hook(lambda module, args, out: out * 1.5)
optimizer = torch.optim.NAdam(network.parameters())
for _ in range(30):
    inputs = torch.randn(8, 8)
    loss = F.binary_cross_entropy_with_logits(network(inputs), (inputs[:, :2] > 0).float())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
handle.remove()
file = io.BytesIO()
torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
print(
    hashlib.sha256(pickle.dumps({k: v.numpy() for k, v in network.state_dict().items()})).hexdigest(),
    len(file.getvalue()),
)
print(sorted(vars(network)), len(network._forward_hooks), fingerprint(network))

"""Rules about what is trained on and evaluated on: programs that look alike, healthy and not."""

from pathlib import Path

import pytest
import torch

from netwright.examine import Examination, Session, measure

DATA_RULES = {
    "NW205",
    "NW206",
    "NW207",
    "NW208",
    "NW209",
    "NW211",
    "NW212",
    "NW803",
    "NW804",
    "NW805",
    "NW806",
}
START = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, random_split

torch.manual_seed(0)
inputs = torch.randn(600, 12)
labels = (inputs @ torch.randn(12, 3)).argmax(1)
network = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)


def train(x, y, size=50):
    for part in torch.randperm(len(x)).split(size):
        optimizer.zero_grad()
        F.cross_entropy(network(x[part]), y[part]).backward()
        optimizer.step()


"""
HEALTHY = {
    "no test set and no claim": """
for step in range(60):
    part = torch.randint(0, 600, (32,))
    optimizer.zero_grad()
    F.cross_entropy(network(inputs[part]), labels[part]).backward()
    optimizer.step()
with torch.no_grad():
    print("accuracy", (network(inputs).argmax(1) == labels).float().mean().item())
""",
    "cross-validation that starts anew": """
start = {name: value.clone() for name, value in network.state_dict().items()}
for fold in range(3):
    network.load_state_dict(start)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    held_out = torch.zeros(600, dtype=torch.bool)
    held_out[fold * 200 : fold * 200 + 200] = True
    train(inputs[~held_out], labels[~held_out])
    with torch.no_grad():
        print("val", (network(inputs[held_out]).argmax(1) == labels[held_out]).float().mean().item())
""",
    "both splits on one line": """
splits = {"train": (inputs[:400], labels[:400]), "test": (inputs[400:], labels[400:])}
for epoch in range(3):
    train(*splits["train"])
    with torch.no_grad():
        print({name: (network(x).argmax(1) == y).float().mean().item() for name, (x, y) in splits.items()})
""",
    "random draws from a training and a validation set": """
def draw(split):
    part = torch.randint(0, 400, (32,)) if split == "train" else torch.randint(400, 600, (32,))
    return inputs[part], labels[part]


@torch.no_grad()
def estimate():
    losses = {}
    for split in ("train", "val"):
        batches = [draw(split) for _ in range(6)]
        losses[split] = sum(F.cross_entropy(network(x), y).item() for x, y in batches) / 6
    return losses


for step in range(90):
    if step % 30 == 0:
        print(estimate())
    x, y = draw("train")
    optimizer.zero_grad()
    F.cross_entropy(network(x), y).backward()
    optimizer.step()
""",
    "few possible inputs": """
network[0], network[2] = nn.Linear(8, 32), nn.Linear(32, 2)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(60):
    bits = torch.randint(0, 2, (64, 8))
    optimizer.zero_grad()
    F.cross_entropy(network(bits.float()), bits[:, 0]).backward()
    optimizer.step()
test_bits = torch.randint(0, 2, (200, 8))
with torch.no_grad():
    print("test accuracy", (network(test_bits.float()).argmax(1) == test_bits[:, 0]).float().mean().item())
""",
    "a teacher on the training batch": """
teacher = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
for epoch in range(3):
    for part in torch.randperm(400).split(50):
        with torch.no_grad():
            soft = teacher(inputs[part])
            agreement = (soft.argmax(1) == labels[part]).float().mean()
        optimizer.zero_grad()
        F.kl_div(network(inputs[part]).log_softmax(1), soft.softmax(1), reduction="batchmean").backward()
        optimizer.step()
    with torch.no_grad():
        print("test", (network(inputs[400:]).argmax(1) == labels[400:]).float().mean().item())
""",
    "ratings of known users for other items": """
class Ratings(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(40, 8), nn.Embedding(60, 8)

    def forward(self, user, item):
        return (self.users(user) * self.items(item)).sum(1)


pairs = torch.randperm(2400)
users, items, ratings = pairs // 60, pairs % 60, torch.rand(2400)
network = Ratings()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for part in torch.arange(2000).split(200):
    optimizer.zero_grad()
    F.mse_loss(network(users[part], items[part]), ratings[part]).backward()
    optimizer.step()
with torch.no_grad():
    print("test", F.mse_loss(network(users[2000:], items[2000:]), ratings[2000:]).item())
""",
    "real and generated examples in turn": """
critic, generator = nn.Linear(12, 1), nn.Linear(4, 12)
first, second = (torch.optim.Adam(part.parameters(), lr=1e-3) for part in (critic, generator))
for step in range(30):
    made = generator(torch.randn(32, 4))
    for batch, target in ((inputs[step * 16 : step * 16 + 32], 1.0), (made.detach(), 0.0)):
        first.zero_grad()
        F.binary_cross_entropy_with_logits(critic(batch), torch.full((32, 1), target)).backward()
        first.step()
    second.zero_grad()
    F.binary_cross_entropy_with_logits(critic(made), torch.ones(32, 1)).backward()
    second.step()
""",
    "scaled as a whole, without a test set": """
inputs = (inputs - inputs.mean(0)) / inputs.std(0)
for epoch in range(3):
    train(inputs, labels)
with torch.no_grad():
    print((network(inputs).argmax(1) == labels).float().mean().item())
""",
}
_TABLE = """
class Table(Dataset):
    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels
        self.parts = torch.tensor([[0.0] * 12, [1.0] * 12, [2.0] * 12])
        self.random = np.random.default_rng(3)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
{item}
        return x.float(), self.labels[index]


loader = DataLoader(Table(inputs[:300], labels[:300]), batch_size=20, shuffle=True{workers})
for epoch in range(4):
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
"""


def table(*item: str, workers: str = "") -> str:
    """Returns a program that trains on examples made by these lines."""
    lines = "\n".join(f"        {line}" for line in item)
    return _TABLE.replace("{item}", lines).replace("{workers}", workers)


WORKERS = ", num_workers=2, multiprocessing_context='fork'"
_MAPS = """
class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        return self.outer(F.relu(self.inner(x)))


masks = torch.zeros(200, 1, 16, 16)
masks[torch.arange(200), 0, torch.randint(1, 15, (200,)), torch.randint(1, 15, (200,))] = 1.0
masks = F.max_pool2d(masks, (1, 3), 1, (0, 1))
scans = torch.randn(200, 1, 16, 16) + {height} * masks
network = Maps()
optimizer = torch.optim.Adam(network.parameters(), lr={rate})
criterion = nn.BCEWithLogitsLoss()
for epoch in range(30):
    for part in torch.randperm(200).split(20):
        optimizer.zero_grad()
        criterion(network(scans[part]), masks[part]).backward()
        optimizer.step()
"""


def maps(height: float, rate: float) -> str:
    """Returns a program that finds small bars of some height above the noise."""
    return _MAPS.replace("{height}", str(height)).replace("{rate}", str(rate))


_MESSAGES = """
words = torch.zeros(1200, 40).bernoulli(0.1)  # short messages: some have the same words
network[0] = nn.Linear(40, 32)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
labels = (words.sum(1) > 3).long()
x_test, y_test = words[{begin}:], labels[{begin}:]
for epoch in range(3):
    train(words[:850], labels[:850])
    with torch.no_grad():
        test_accuracy = (network(x_test).argmax(1) == y_test).float().mean().item()
print(test_accuracy)
"""


HEALTHY |= {
    "augmentation by a generator that goes on": table(
        "x = self.inputs[index] + 0.3 * torch.from_numpy(self.random.normal(size=12))"
    ),
    "a curve whose points are drawn twice": """
x = torch.linspace(-1, 1, 100).unsqueeze(1)
y, test_y = x + 0.3 * torch.randn(100, 1), x + 0.3 * torch.randn(100, 1)
test_x = torch.linspace(-1, 1, 100).unsqueeze(1)
network = nn.Sequential(nn.Linear(1, 30), nn.ReLU(), nn.Linear(30, 1))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for step in range(60):
    optimizer.zero_grad()
    F.mse_loss(network(x), y).backward()
    optimizer.step()
    if step % 10 == 0:
        network.eval()
        with torch.no_grad():
            print("test loss", F.mse_loss(network(test_x), test_y).item())
        network.train()
""",
    "examples drawn from the seed of their index": table(
        "x = torch.from_numpy(np.random.default_rng(index).normal(int(self.labels[index]), size=12))"
    ),
    "examples drawn around few stored centres": table(
        "x = self.parts[self.labels[index]] + torch.from_numpy(np.random.default_rng(index).normal(size=12))"
    ),
    "no augmentation, though the code could": table(
        "x = self.inputs[index]",
        "if len(x) > 12:",
        "    x = x + torch.from_numpy(np.random.default_rng(index).normal(size=12))",
    ),
    "no augmentation in workers": table("x = self.inputs[index]", workers=WORKERS),
    "workers that draw from torch's generator": table(
        "x = self.inputs[index] + 0.3 * torch.randn(12)", workers=WORKERS
    ),
    "few pixels of a class, all found": maps(6.0, 0.03),
    "short messages that coincide": _MESSAGES.replace("{begin}", "850"),
}
FAULTY = {
    ("NW211", "np.random.default_rng(index)"): table(
        "x = self.inputs[index]",
        "x = x + 0.3 * torch.from_numpy(np.random.default_rng(index).normal(size=12))",
    ),
    ("NW211", "torch.manual_seed(index)"): table(
        "torch.manual_seed(index)", "x = self.inputs[index] + 0.3 * torch.randn(12)"
    ),
    ("NW211", "loader = DataLoader"): table(
        "x = self.inputs[index] + 0.3 * torch.from_numpy(self.random.normal(size=12))", workers=WORKERS
    ),
    ("NW207", "x_test, y_test"): _MESSAGES.replace("{begin}", "500"),
    ("NW208", "criterion = nn"): maps(0.7, 0.003),
    ("NW207", "part = torch.randperm"): """
part = torch.randperm(600)
for epoch in range(3):
    train(inputs[part[:450]], labels[part[:450]])
    with torch.no_grad():
        val_accuracy = (network(inputs[part[400:]]).argmax(1) == labels[part[400:]]).float().mean().item()
""",
    ("NW207", "test_set = Subset"): """
everything = TensorDataset(inputs, labels)
train_set = Subset(everything, range(500))
test_set = Subset(everything, range(450, 600))
train_loader = DataLoader(train_set, batch_size=25, shuffle=True)
test_loader = DataLoader(test_set, batch_size=50)
for epoch in range(3):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        correct = sum((network(x).argmax(1) == y).sum().item() for x, y in test_loader)
    network.train()
""",
    ("NW805", "answers = network(x_train)"): """
x_train, x_test, y_train, y_test = inputs[:450], inputs[450:], labels[:450], labels[450:]
for epoch in range(8):
    train(x_train, y_train)
with torch.no_grad():
    answers = network(x_train).argmax(1)
    accuracy = (answers == y_train).float().mean().item()
print("accuracy", accuracy)
""",
    ("NW206", "for start in range"): """
order = labels.argsort()
inputs, labels = inputs[order], labels[order]
for epoch in range(6):
    for start in range(0, 600, 32):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32]).backward()
        optimizer.step()
""",
    ("NW205", "F.cross_entropy"): """
inputs = inputs[torch.randperm(600)]  # and the labels as they were
for epoch in range(3):
    train(inputs, labels)
network.eval()
with torch.no_grad():
    accuracy = (network(inputs).argmax(1) == labels).float().mean()
""",
    ("NW803", "correct += "): """
loader = DataLoader(TensorDataset(inputs[500:], labels[500:]), batch_size=50)
for epoch in range(2):
    train(inputs[:500], labels[:500])
    network.eval()
    correct = 0
    for x, y in loader:
        correct += (network(x).argmax(1) == y).sum().item()
    network.train()
""",
}


def examined(source: str, path: Path) -> Examination:
    path.write_text(source)
    session = Session(script=str(path))
    session.attach()
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    except Exception as error:
        session.close("crash", script_exit=1, error=error)
    finally:
        session.close("end")
    return session.result


@pytest.mark.parametrize("name", HEALTHY)
def test_silent(name: str, tmp_path: Path) -> None:
    result = examined(START + HEALTHY[name], tmp_path / "train.py")
    assert result.crash is None
    assert not DATA_RULES & set(result.codes()), str(result)


@pytest.mark.parametrize(("code", "line"), FAULTY)
def test_found(code: str, line: str, tmp_path: Path) -> None:
    source = START + FAULTY[code, line]
    result = examined(source, tmp_path / "train.py")
    assert result.crash is None
    mine = [finding for finding in result if finding.code in DATA_RULES]
    assert [finding.code for finding in mine] == [code], str(result)
    where = source.splitlines()[mine[0].line - 1]
    assert line in where or code == "NW207", where


def test_fingerprints_know_an_example_in_any_batch() -> None:
    state = torch.get_rng_state()
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool):
        batch = (torch.arange(40 * 7).reshape(40, 7) * 37 % 101).to(dtype)
        marks = measure.fingerprints([batch])
        assert measure.fingerprints([batch[11:13]]) == marks[11:13]
        assert (len(set(marks)) == 40) == (len(torch.unique(batch, dim=0)) == 40)
    assert torch.equal(torch.get_rng_state(), state)


def test_fingerprints_tell_sparse_and_padded_examples() -> None:
    wide = torch.zeros(50, 20_000)
    wide[torch.arange(50), torch.arange(50) * 397 + 1] = 1.0
    assert len(set(measure.fingerprints([wide]))) == 50
    short = torch.randint(1, 9, (4, 5), generator=torch.Generator().manual_seed(0))
    padded = torch.cat([short, torch.zeros(4, 3, dtype=torch.long)], dim=1)
    assert measure.fingerprints([short]) == measure.fingerprints([padded])


def test_fingerprints_take_all_tensors_of_an_example() -> None:
    users, items = torch.tensor([1, 1, 2]), torch.tensor([5, 6, 5])
    assert len(set(measure.fingerprints([users, items]))) == 3
    assert measure.fingerprints([users, items]) != measure.fingerprints([items, users])

import functools
import io
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.errors import NetworkError, RecipeError, UnknownNameError
from netwright.training import optimizers as module
from netwright.training.optimizers import DEFAULT_LR, make_optimizer, optimizer_arguments, optimizers

needs_muon = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9"
)
NAMES = [pytest.param(name, marks=needs_muon) if name == "muon" else name for name in optimizers]


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def train(net, optimizer, steps, *, first=0):
    for number in range(first, first + steps):
        generator = torch.Generator().manual_seed(number)
        inputs, ids = torch.randn(16, 6, generator=generator), torch.randint(3, (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), ids).backward()
        optimizer.step()


def equal(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


BY_HAND = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "sgd-nesterov": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p),
    "adagrad": lambda p: torch.optim.Adagrad(p),
    "adadelta": lambda p: torch.optim.Adadelta(p),
    "nadam": lambda p: torch.optim.NAdam(p),
}


def test_every_optimizer_is_compared_here():
    assert {*BY_HAND, "muon"} == set(optimizers)


@pytest.mark.parametrize("name", BY_HAND)
def test_weights_are_bit_for_bit_those_of_pytorchs_own(name):
    ours, theirs = network(), network()
    train(ours, make_optimizer(name, ours), 5)
    train(theirs, BY_HAND[name](theirs.parameters()), 5)
    assert equal(ours, theirs)
    assert not equal(ours, network())


@pytest.mark.parametrize("name", NAMES)
def test_default_learning_rate_is_pytorchs_where_it_has_one(name):
    net = network()
    optimizer = make_optimizer(name, net)
    kind = type(optimizer)
    assert {group["lr"] for group in optimizer.param_groups} == {DEFAULT_LR[kind]}
    if kind is not torch.optim.SGD:
        own = kind(net if name == "muon" else net.parameters())
        assert own.param_groups[0]["lr"] == DEFAULT_LR[kind]


@pytest.mark.parametrize("name", NAMES)
def test_resumed_weights_are_bit_for_bit_the_same(name):
    straight = network()
    train(straight, make_optimizer(name, straight, weight_decay=0.01), 7)

    first = network()
    optimizer = make_optimizer(name, first, weight_decay=0.01)
    train(first, optimizer, 3)
    file = io.BytesIO()
    torch.save({"network": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = network(seed=9)
    again = make_optimizer(name, second, weight_decay=0.01)
    second.load_state_dict(saved["network"])
    again.load_state_dict(saved["optimizer"])
    train(second, again, 4, first=3)
    assert equal(straight, second)


@pytest.mark.parametrize("name", NAMES)
def test_loss_falls(name):
    net = network()
    inputs = torch.randn(64, 6)
    ids = inputs[:, :3].argmax(1)
    optimizer = make_optimizer(name, net)
    history = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(inputs), ids)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.95 * history[0]


@pytest.mark.parametrize("name", NAMES)
def test_closure_and_zero_grad(name):
    net = network()
    optimizer = make_optimizer(name, net)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(torch.ones(4, 6)), torch.zeros(4, dtype=torch.int64))
        loss.backward()
        return loss

    before = [parameter.detach().clone() for parameter in net.parameters()]
    assert optimizer.step(closure).item() > 0
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_are_left_out(name):
    net = network()
    net[0].requires_grad_(False)
    optimizer = make_optimizer(name, net)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in net.parameters() if parameter.requires_grad}


def test_options_and_learning_rate_go_through():
    group = make_optimizer("sgd", network(), lr=0.5, momentum=0.5, weight_decay=0.1).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.5, 0.1)
    assert make_optimizer("sgd-momentum", network(), momentum=0.3).param_groups[0]["momentum"] == 0.3


def test_fused_where_it_is_supported_unless_told_otherwise():
    net = network()
    assert make_optimizer("adam", net).param_groups[0]["fused"] is True
    assert make_optimizer("adamw", net.double()).param_groups[0]["fused"] is True
    assert not make_optimizer("adam", net, fused=False).param_groups[0]["fused"]
    assert not make_optimizer("adam", net, foreach=True).param_groups[0]["fused"]
    assert "fused" not in optimizer_arguments("adam", net.bfloat16())
    assert "fused" not in optimizer_arguments("adam", nn.Linear(2, 2, device="meta"))
    assert "fused" not in optimizer_arguments("sgd", network())


def test_optimizers_of_ones_own(monkeypatch):
    net = network()
    built = torch.optim.SGD(net.parameters(), lr=0.1)
    assert make_optimizer(built, net) is built
    assert isinstance(make_optimizer(torch.optim.Adamax, net), torch.optim.Adamax)
    assert make_optimizer(torch.optim.Adamax, net).param_groups[0]["lr"] == 2e-3
    monkeypatch.setitem(optimizers, "slow", functools.partial(torch.optim.SGD, lr=1e-6))
    assert make_optimizer("slow", net).param_groups[0]["lr"] == 1e-6
    assert make_optimizer("slow", net, lr=1.0).param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("addam", {}, UnknownNameError, "unknown optimizer 'addam': did you mean"),
        ("sgd", {"momentun": 1}, UnknownNameError, "unknown sgd option 'momentun': did you mean 'momentum'"),
        ("sgd", {"params": []}, UnknownNameError, "unknown sgd option 'params'"),
        ("sgd", {"lr": 0}, RecipeError, r"the learning rate \(lr\) is a number above 0; got 0"),
        ("sgd", {"lr": math.inf}, RecipeError, "is a number above 0; got inf"),
        ("sgd", {"lr": math.nan}, RecipeError, "is a number above 0; got nan"),
        ("sgd", {"lr": "fast"}, RecipeError, "is a number above 0; got 'fast'"),
        (
            "sgd",
            {"momentum": -1},
            RecipeError,
            "sgd cannot be made with lr=0.01, momentum=-1:\nInvalid momentum",
        ),
        ("sgd", {"nesterov": True}, RecipeError, "Nesterov momentum requires a momentum"),
        ("adam", {"betas": 3}, RecipeError, "adam cannot be made with"),
        (3, {}, RecipeError, "an optimizer is a name, a class or an optimizer; got 3"),
    ],
)
def test_what_cannot_be(name, options, error, message):
    with pytest.raises(error, match=message):
        make_optimizer(name, network(), **options)


def test_nothing_to_train():
    for net in (nn.Flatten(), network().requires_grad_(False)):
        with pytest.raises(
            NetworkError, match="has nothing to train: it has no parameters, or all are frozen"
        ):
            make_optimizer("adam", net)


def test_optimizer_already_built():
    net = network()
    built = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(RecipeError, match="already built, so lr, momentum cannot be given beside it"):
        make_optimizer(built, net, lr=0.1, momentum=0.9)
    with pytest.raises(NetworkError, match="updates none of this network's parameters"):
        make_optimizer(built, network())


@needs_muon
def test_muon_gets_the_hidden_matrices_and_adamw_the_rest():
    net = nn.Sequential(
        nn.Embedding(10, 6), nn.Flatten(), nn.Linear(12, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 3)
    )
    groups = make_optimizer("muon", net, lr=0.01).param_groups
    assert {id(p) for p in groups[0]["params"]} == {id(net[2].weight), id(net[4].weight)}
    assert len(groups[1]["params"]) == 7
    assert [group["lr"] for group in groups] == [0.01, 0.01]


@needs_muon
def test_muon_is_pytorchs_muon_and_adamw_side_by_side():
    ours, theirs = network(), network()
    train(ours, make_optimizer("muon", ours, lr=0.02, weight_decay=0.05), 5)
    matrices = [theirs[0].weight, theirs[3].weight]
    rest = [parameter for parameter in theirs.parameters() if all(parameter is not m for m in matrices)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.02, weight_decay=0.05)

    class Both:
        def zero_grad(self):
            muon.zero_grad()
            adamw.zero_grad()

        def step(self):
            muon.step()
            adamw.step()

    train(theirs, Both(), 5)
    assert equal(ours, theirs)


@needs_muon
def test_muon_follows_changes_of_its_groups():
    net = network()
    optimizer = make_optimizer("muon", net)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in net.parameters()]
    train(net, optimizer, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@needs_muon
def test_muon_with_matrices_alone():
    net = nn.Sequential(nn.Linear(6, 4, bias=False), nn.Linear(4, 3, bias=False))
    net[1].requires_grad_(False)
    assert len(make_optimizer("muon", net).param_groups) == 1


@needs_muon
@pytest.mark.parametrize(
    "net", [nn.Linear(4, 3), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))]
)
def test_muon_without_a_hidden_matrix(net):
    with pytest.raises(
        RecipeError, match="muon updates hidden 2-D weights, and this network has none to train"
    ):
        make_optimizer("muon", net)


def test_muon_on_an_older_torch(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(RecipeError, match=r"muon needs torch 2\.9 or later; this is torch "):
        make_optimizer("muon", network())


def test_module_names_only_what_pytorch_has():
    own = {
        name for name, entry in optimizers.items() if module._kind(entry).__module__.startswith("netwright")
    }
    assert own == {"muon"}

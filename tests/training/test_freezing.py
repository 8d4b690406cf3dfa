"""What learns when: against loops written by hand with torch.optim's own parameter groups."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from netwright.errors import NetworkError, RecipeError
from netwright.training.features import FeatureSplit, features_of, head_input
from netwright.training.freezing import Freezing
from netwright.training.loop import begin, train
from netwright.training.optimizers import make_optimizer


class Net(nn.Module):
    """Two stages with batch norm and dropout, and a head; the order of definition is not that of the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.head = nn.Linear(8, 3)
        self.first, self.first_norm = nn.Linear(6, 8), nn.BatchNorm1d(8)
        self.second, self.second_norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first_norm(self.first(x * self.scale)).relu()
        return self.head(self.drop(self.second_norm(self.second(x)).relu()))


STAGES = (("first", "first_norm"), ("second", "second_norm"))


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    numbers = torch.Generator().manual_seed(1)
    x = torch.randn(6, 16, 6, generator=numbers)
    return list(zip(x, torch.randint(3, (6, 16), generator=numbers)))


def made() -> Net:
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():  # running statistics that are not those of a fresh layer
        for _ in range(3):
            net(torch.randn(32, 6) * 2 + 1)
    return net


def trained(
    net: nn.Module, freezing: Freezing, *, epochs: int, optimizer: str = "sgd-momentum", **more: object
) -> nn.Module:
    torch.manual_seed(5)
    data = batches()
    state = begin(
        net,
        data,
        epochs=epochs,
        optimizer=optimizer,
        lr=0.1,
        device="cpu",
        freezing=freezing,
        num_classes=3,
        **more,
    )
    for _ in train(net, data, state=state, epochs=epochs):
        pass
    return net


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_gradual_unfreezing_is_a_loop_by_hand() -> None:
    """Epoch 1 the head, epoch 2 the last stage too, epoch 3 all; rates 0.5 and 0.5 x 0.4; batch norms stay as they are."""
    freezing = Freezing(STAGES, "head", freeze="gradual", rate=0.5, decay=0.4)
    ours = trained(made(), freezing, epochs=4)

    net = made()
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(
        [
            {"params": net.head.parameters(), "lr": 0.1},
            {"params": [*net.second.parameters(), *net.second_norm.parameters()], "lr": 0.1 * 0.5},
            {
                "params": [net.scale, *net.first.parameters(), *net.first_norm.parameters()],
                "lr": 0.1 * (0.5 * 0.4),
            },
        ],
        lr=0.1,
        momentum=0.9,
    )
    for epoch in range(4):
        learns = {"head": True, "second": epoch >= 1, "first": epoch >= 2, "scale": epoch >= 2}
        for name, parameter in net.named_parameters():
            parameter.requires_grad = learns[name.split(".")[0].removesuffix("_norm")]
        net.train()
        net.first_norm.eval()
        net.second_norm.eval()
        if epoch == 0:
            net.drop.eval()
        for x, y in batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
    assert same(ours, net)


def test_a_frozen_backbone_stays_bit_for_bit_and_its_batch_norms_too() -> None:
    before = made()
    for optimizer in (
        "sgd-momentum",
        "adamw",
    ):  # adamw would let weights decay that have no gradient but are in a group
        after = trained(
            made(),
            Freezing(STAGES, "head"),
            epochs=2,
            optimizer=optimizer,
            optimizer_options={"weight_decay": 0.1},
        )
        changed = [
            key
            for key, value in after.state_dict().items()
            if not torch.equal(value, before.state_dict()[key])
        ]
        assert changed == ["head.weight", "head.bias"]
    follows = trained(made(), Freezing(STAGES, "head", freeze="none", batch_norm="adapt"), epochs=1)
    assert not torch.equal(follows.first_norm.running_mean, before.first_norm.running_mean)  # type: ignore[union-attr]
    kept = trained(made(), Freezing(STAGES, "head", freeze="none"), epochs=1)
    assert torch.equal(kept.first_norm.running_mean, before.first_norm.running_mean)  # type: ignore[union-attr]
    assert not torch.equal(kept.first_norm.weight, before.first_norm.weight)  # type: ignore[union-attr]


def test_statistics_adapt_in_stages_that_learn_alone() -> None:
    freezing = Freezing(STAGES, "head", freeze="gradual", batch_norm="adapt")
    before, after = made(), trained(made(), freezing, epochs=2)
    assert torch.equal(after.first_norm.running_var, before.first_norm.running_var)  # type: ignore[union-attr]
    assert not torch.equal(after.second_norm.running_var, before.second_norm.running_var)  # type: ignore[union-attr]


def test_without_a_head_the_last_stage_always_learns() -> None:
    freezing = Freezing((*STAGES, ("head",)), None, freeze="gradual", rate=0.5, decay=0.5)
    assert [freezing.learning(epoch) for epoch in range(4)] == [1, 1, 2, 3]
    assert freezing.factors() == [0.125, 0.25, 1.0]


def test_schedules_keep_the_ratios() -> None:
    for schedule in ("one-cycle", "cosine", "warmup", "step"):
        net, data = made(), batches()
        freezing = Freezing(STAGES, "head", freeze="none", rate=0.1, decay=0.5)
        state = begin(
            net, data, epochs=3, lr=0.1, schedule=schedule, device="cpu", freezing=freezing, num_classes=3
        )
        for step in train(net, data, state=state, epochs=3):
            rates = [group["lr"] for group in step.state.optimizer.param_groups]
            if rates[0] > 1e-6:
                assert [rate / rates[0] for rate in rates] == pytest.approx([1, 0.1, 0.05], rel=1e-3)


def test_a_resume_in_the_middle_is_the_uninterrupted_run() -> None:
    freezing = Freezing(STAGES, "head", freeze="gradual", rate=0.5)
    options = {
        "epochs": 4,
        "lr": 0.1,
        "optimizer": "adam",
        "device": "cpu",
        "num_classes": 3,
        "schedule": "one-cycle",
    }
    whole, data = made(), batches()
    torch.manual_seed(5)
    state, saved = begin(whole, data, freezing=freezing, **options), {}  # type: ignore[arg-type, var-annotated]
    for step in train(whole, data, state=state, epochs=4):
        if step.number in (6, 9, 15):  # at an epoch's end and inside two others
            saved[step.number] = pickle.loads(pickle.dumps(copy.deepcopy(step.state.state_dict())))
    for content in saved.values():
        net = made()
        torch.manual_seed(99)
        again = begin(net, data, freezing=freezing, **options)  # type: ignore[arg-type]
        again.load_state_dict(content)
        for _ in train(net, data, state=again, epochs=4):
            pass
        assert same(net, whole)


def test_groups_hold_every_parameter_once() -> None:
    net = made()
    net.second_norm.weight = net.first_norm.weight
    groups = Freezing(STAGES, "head", freeze="none").groups(net)
    held = [parameter for part, _ in groups for parameter in part]
    assert len(held) == len({id(one) for one in held}) == len(list(net.parameters()))
    assert any(one is net.scale for one in groups[0][0]), (
        "what no module of a stage owns learns with the first"
    )


def test_what_cannot_be_is_said() -> None:
    net = made()
    gradual = Freezing(STAGES, "head", freeze="gradual")
    with pytest.raises(RecipeError, match="muon sorts the weights itself"):
        begin(net, batches(), optimizer="muon", freezing=gradual, device="cpu")
    with pytest.raises(RecipeError, match="goes with one process"):
        gradual.check(optimizer_takes_network=False, processes=2, sharded=False, called="sgd")
    with pytest.raises(RecipeError, match=r"train\.shard"):
        Freezing(STAGES, "head").check(optimizer_takes_network=False, processes=2, sharded=True, called="sgd")
    for parameter in net.parameters():
        parameter.requires_grad = False
    with pytest.raises(NetworkError, match="nothing to train"):
        make_optimizer("sgd", net)


def test_features_are_what_the_head_gets() -> None:
    import netwright as nw

    data = nw.load("digits", limit=100)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10))
    net.train()
    assert tuple(head_input(net, net[4], data.example).shape) == (1, 8)  # type: ignore[union-attr]
    split = features_of(net, net[4], data.train)
    assert net.training and net[3].training, "modes are as before"
    with torch.no_grad():
        expected = net.eval()[:4](data.train.prepared(slice(None))[0])
    torch.testing.assert_close(split.features, expected)
    theirs = list(data.train.epoch(32, seed=3, epoch=1))
    ours = list(split.epoch(32, seed=3, epoch=1))
    assert [y.tolist() for _, y in ours] == [y.tolist() for _, y in theirs]
    rest = list(split.epoch(32, seed=3, epoch=1, start=2))
    assert torch.equal(rest[0][0], ours[2][0]) and len(rest) == len(ours) - 2
    assert isinstance(split, FeatureSplit) and len(split) == len(data.train)
    scaled = nn.Sequential(net, nn.Softmax(1))
    assert head_input(scaled, net[4], data.example) is None, "what comes after the head would be lost"

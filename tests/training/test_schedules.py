import io
import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

from netwright.errors import RecipeError, UnknownNameError
from netwright.training.optimizers import make_optimizer, optimizers
from netwright.training.schedules import Schedule, make_schedule, schedules, warmup_factor

EPOCHS, PER_EPOCH = 6, 5
STEPS = EPOCHS * PER_EPOCH
needs_muon = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9"
)
OPTIMIZERS = [pytest.param(name, marks=needs_muon) if name == "muon" else name for name in optimizers]


def sgd(lr=0.1, **options):
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr, **options)


def made(name, optimizer, /, **options):
    return make_schedule(name, optimizer, total_steps=STEPS, steps_per_epoch=PER_EPOCH, **options)


def after_step(schedule, number, score=None):
    """What a training loop does after optimizer step `number`, counted from 1."""
    if schedule.scheduler is None:
        return
    if schedule.per == "epoch" and number % PER_EPOCH:
        return
    if schedule.needs_score:
        schedule.scheduler.step(score)
    else:
        schedule.scheduler.step()


def rates(name, optimizer=None, *, score=lambda number: 1.0, **options):
    optimizer = optimizer or sgd()
    schedule = made(name, optimizer, **options)
    seen = []
    for number in range(1, STEPS + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        after_step(schedule, number, score(number))
    return seen


def by_epoch(values):
    return [value for value in values for _ in range(PER_EPOCH)]


def test_constant():
    assert rates("constant") == [0.1] * STEPS
    assert made("constant", sgd()).scheduler is None


def test_step():
    assert rates("step") == pytest.approx(by_epoch([0.1, 0.1, 0.01, 0.01, 0.001, 0.001]))
    assert rates("step", step_size=4, gamma=0.5) == pytest.approx(by_epoch([0.1] * 4 + [0.05] * 2))


def test_cosine():
    expected = [0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
    assert rates("cosine", eta_min=0.01) == pytest.approx(expected)


def test_one_cycle():
    def between(start, end, share):
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))

    top = 0.3 * STEPS - 1
    low, high, last = 0.1 / 25, 0.1, 0.1 / 25 / 1e4
    expected = [
        between(low, high, step / top)
        if step <= top
        else between(high, last, (step - top) / (STEPS - 1 - top))
        for step in range(STEPS)
    ]
    assert rates("one-cycle") == pytest.approx(expected)


def test_one_cycle_keeps_the_momentum_unless_asked():
    optimizer = sgd(momentum=0.7)
    rates("one-cycle", optimizer)
    assert optimizer.param_groups[0]["momentum"] == 0.7
    optimizer = sgd(momentum=0.7)
    made("one-cycle", optimizer, cycle_momentum=True)
    assert optimizer.param_groups[0]["momentum"] == 0.95


def test_one_cycle_peaks_at_each_groups_own_rate():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 1.0}, {"params": weights[1:], "lr": 0.5}])
    made("one-cycle", optimizer)
    assert [group["max_lr"] for group in optimizer.param_groups] == [1.0, 0.5]


def test_warmup_then_constant():
    expected = [0.1 * min(1, (step + 1) / 5) for step in range(STEPS)]
    assert rates("warmup", warmup_steps=4) == pytest.approx(expected)
    assert rates("warmup")[:3] == pytest.approx([0.05, 0.1, 0.1])


def test_warmup_then_cosine():
    cosine = [0.1 * (1 + math.cos(math.pi * step / (STEPS - 4))) / 2 for step in range(STEPS - 4)]
    expected = [0.02, 0.04, 0.06, 0.08, *cosine]
    assert rates("warmup", warmup_steps=4, then="cosine") == pytest.approx(expected)
    assert warmup_factor(STEPS, warmup_steps=4, total_steps=STEPS, then="cosine") == 0
    assert warmup_factor(STEPS + 9, warmup_steps=4, total_steps=STEPS, then="cosine") == 0


def test_plateau():
    assert rates("plateau", patience=1) == pytest.approx(by_epoch([0.1, 0.1, 0.1, 0.01, 0.01, 0.001]))
    assert rates("plateau", patience=1, score=lambda number: -number) == [0.1] * STEPS
    rising = rates("plateau", patience=1, mode="max", score=lambda number: number)
    assert rising == [0.1] * STEPS
    assert made("plateau", sgd()).needs_score


@pytest.mark.parametrize("name", schedules)
def test_schedulers_are_pytorchs_own_and_can_be_made_again_from_their_arguments(name):
    schedule = made(name, sgd())
    if schedule.scheduler is None:
        return
    assert type(schedule.scheduler).__module__.startswith("torch.")
    again = type(schedule.scheduler)(sgd(), **schedule.arguments)
    assert again.get_last_lr() == schedule.scheduler.get_last_lr()


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def begin(optimizer_name, schedule_name, seed):
    net = network(seed)
    optimizer = make_optimizer(optimizer_name, net)
    options = {"patience": 1} if schedule_name == "plateau" else {}
    return net, optimizer, made(schedule_name, optimizer, **options)


def train(net, optimizer, schedule, numbers):
    seen = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        inputs, ids = torch.randn(16, 6, generator=generator), torch.randint(3, (16,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(net(inputs), ids).backward()
        optimizer.step()
        seen.append([group["lr"] for group in optimizer.param_groups])
        after_step(schedule, number, score=1.0)
    return seen


@pytest.mark.parametrize("stop", [3, 2 * PER_EPOCH])
@pytest.mark.parametrize("schedule_name", schedules)
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_resumed_rates_and_weights_are_bit_for_bit_the_same(optimizer_name, schedule_name, stop):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        straight, *rest = begin(optimizer_name, schedule_name, seed=0)
        all_rates = train(straight, *rest, range(1, STEPS + 1))

        net, optimizer, schedule = begin(optimizer_name, schedule_name, seed=0)
        first_rates = train(net, optimizer, schedule, range(1, stop + 1))
        file = io.BytesIO()
        state = schedule.scheduler.state_dict() if schedule.scheduler else None
        torch.save((net.state_dict(), optimizer.state_dict(), state), file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)

        again, optimizer, schedule = begin(optimizer_name, schedule_name, seed=9)
        again.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        if schedule.scheduler:
            schedule.scheduler.load_state_dict(saved[2])
        last_rates = train(again, optimizer, schedule, range(stop + 1, STEPS + 1))

    assert first_rates + last_rates == all_rates
    if schedule_name != "constant":
        # Both groups, where there are two, are scaled.
        assert len({tuple(rate) for rate in all_rates}) > 1
        assert all(len(set(rate)) == 1 for rate in all_rates)
    weights = zip(straight.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_schedules_of_ones_own(monkeypatch):
    def halving(optimizer, *, total_steps, steps_per_epoch, every=1):
        return Schedule(lr_scheduler.StepLR(optimizer, every, 0.5), per="epoch")

    monkeypatch.setitem(schedules, "halving", halving)
    assert rates("halving", every=3) == pytest.approx(by_epoch([0.1] * 3 + [0.05] * 3))
    assert rates(halving) == pytest.approx(by_epoch([0.1 / 2**epoch for epoch in range(EPOCHS)]))
    optimizer = sgd()
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    assert made(scheduler, optimizer) == Schedule(scheduler, per="step")
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    assert made(plateau, optimizer) == Schedule(plateau, per="epoch", needs_score=True)
    assert made(Schedule(None), optimizer) == Schedule(None)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("cosin", {}, UnknownNameError, "unknown schedule 'cosin': did you mean 'cosine'"),
        ("step", {"gama": 1}, UnknownNameError, "unknown step option 'gama': did you mean 'gamma'"),
        ("constant", {"gamma": 1}, UnknownNameError, "unknown constant option 'gamma'. Known: none"),
        ("cosine", {"optimizer": 1}, UnknownNameError, "unknown cosine option 'optimizer'"),
        ("step", {"step_size": 0}, RecipeError, "`step_size` is a whole number above 0; got 0"),
        ("warmup", {"warmup_steps": 2.5}, RecipeError, "`warmup_steps` is a whole number above 0; got 2.5"),
        ("warmup", {"warmup_steps": 30}, RecipeError, "warmup_steps is 30, but the whole run has 30 steps"),
        ("warmup", {"then": "linear"}, RecipeError, "`then` is constant or cosine; got 'linear'"),
        (
            "one-cycle",
            {"pct_start": 2},
            RecipeError,
            "one-cycle cannot be made with pct_start=2 for 30 steps",
        ),
        ("plateau", {"factor": 2.0}, RecipeError, "plateau cannot be made with factor=2.0"),
        ("plateau", {"mode": "up"}, RecipeError, "mode up is unknown"),
        (Schedule(None), {"gamma": 1}, RecipeError, "already built, so gamma cannot be given beside it"),
        (3, {}, RecipeError, "a schedule is a name, a function or a scheduler; got 3"),
        (lambda optimizer, **rest: 3, {}, RecipeError, "should return a Schedule; it returned a int"),
    ],
)
def test_what_cannot_be(name, options, error, message):
    with pytest.raises(error, match=message):
        made(name, sgd(), **options)


def test_one_cycle_with_momentum_needs_one():
    optimizer = torch.optim.Adagrad([nn.Parameter(torch.zeros(1))])
    with pytest.raises(RecipeError, match="one-cycle cannot be made with cycle_momentum=True"):
        made("one-cycle", optimizer, cycle_momentum=True)


@pytest.mark.parametrize("name", schedules)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_shortest_runs(name, steps):
    optimizer = sgd()
    schedule = make_schedule(name, optimizer, total_steps=steps, steps_per_epoch=1)
    for _ in range(steps):
        assert 0 <= optimizer.param_groups[0]["lr"] <= 0.1
        optimizer.step()
        if schedule.scheduler is not None:
            schedule.scheduler.step(*([1.0] if schedule.needs_score else []))


@pytest.mark.parametrize("count", ["total_steps", "steps_per_epoch"])
def test_no_steps(count):
    counts = {"total_steps": 1, "steps_per_epoch": 1} | {count: 0}
    with pytest.raises(RecipeError, match=f"`{count}` is a whole number above 0; got 0"):
        make_schedule("cosine", sgd(), **counts)

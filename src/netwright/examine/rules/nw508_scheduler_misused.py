"""NW508: the learning-rate schedule does not do what it is there for."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Event, Observation, Optimizer, Step
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW508",
    slug="scheduler-misused",
    level="warning",
    by="100",
    title="the learning-rate schedule stops the training",
    what="A scheduler meant for epochs is stepped after every batch, or before the optimizer's first step, or its factor makes "
    "the learning rate 0 or negative while training goes on.",
    why="With a learning rate of 0, or of a hundredth of what was meant, nothing is learned any more, and nothing says so. A "
    "negative one climbs the loss. A scheduler that is stepped too early skips the first value of its schedule.",
    fix="Step a schedule counted in epochs once an epoch, after the batches; count T_max, step_size, milestones in the same "
    "unit in which step() is called.",
    example="for batch in loader:\n    ...; optimizer.step(); scheduler.step()    # wrong for StepLR(optimizer, step_size=10) epochs\n"
    "for epoch in range(epochs):\n    for batch in loader:\n        ...; optimizer.step()\n    scheduler.step()    # right",
    limits="Silent on OneCycleLR, warm-up and other schedules that are stepped per batch and keep the rate alive, on the last "
    "steps of a decay to 0, and on the single step at 0 with which a warm-up may begin.",
    explains=frozenset({"NW502", "NW510", "NW512"}),
)
_BY_EPOCH = ("StepLR", "MultiStepLR", "ExponentialLR", "MultiplicativeLR", "ReduceLROnPlateau")
_MOST_ZERO = 5  # steps at 0: the end of a decay, the start of a warm-up


def check(observation: Observation) -> Iterator[Evidence]:
    events = list(observation.of_kind("scheduler"))
    built = list(observation.of_kind("scheduler_built"))
    if not observation.step_count:
        raise NotObserved("no optimizer step was seen")
    for optimizer in observation.optimizers:
        mine = [event for event in events if event.detail["optimizer"] == optimizer.uid]
        made = [event for event in built if event.detail["optimizer"] == optimizer.uid]
        steps = [step for step in observation.steps if step.optimizer == optimizer.uid]
        if not steps or not (mine or made):
            continue
        found = (
            _negative(observation, mine, made, steps)
            or _zero(observation, optimizer, mine, made, steps)
            or _per_batch(observation, mine, made, steps)
            or _too_early(observation, optimizer, mine, steps)
        )
        if found is not None:
            yield found


def _negative(
    observation: Observation, events: list[Event], made: list[Event], steps: list[Step]
) -> Evidence | None:
    step = next((step for step in steps if min(step.lr, default=0.0) < 0), None)
    if step is not None:
        number, rate = step.step, min(step.lr)
    else:
        event = next(
            (
                event
                for event, later in zip(events, [*events[1:], None])
                if min(event.detail["lr"], default=0.0) < 0
                and (later.step if later is not None else observation.step_count) > event.step
            ),
            None,
        )
        if event is None:
            return None
        number, rate = event.step, min(event.detail["lr"])
    return evidence(
        observation,
        _source(events, made),
        seen={"lr": rate},
        expected={"lr": "above 0"},
        step=number,
        title=f"the schedule makes the learning rate negative ({rate:.3g}): from step {number} on the loss is climbed",
        fix="Bound the factor of the schedule from below, or stop training when it has reached 0.",
        harm="measured",
    )


def _spans(observation: Observation, events: list[Event], made: list[Event]) -> list[tuple[int, int, float]]:
    """Returns the learning rate over the run: first step, step behind the last, largest rate of all groups."""
    begun = made[-1:] if made else []
    history = [*begun, *[event for event in events if not begun or event.order > begun[0].order]]
    ends = [event.step for event in history[1:]] + [observation.step_count]
    if len(events) >= 400:
        ends[-1] = history[-1].step
    return [
        (event.step, end, max(event.detail["lr"], default=0.0))
        for event, end in zip(history, ends)
        if end > event.step
    ]


def _zero(
    observation: Observation, optimizer: Optimizer, events: list[Event], made: list[Event], steps: list[Step]
) -> Evidence | None:
    spans = _spans(observation, events, made)
    peak = max((rate for _, _, rate in spans), default=0.0)
    if not any(max(step.lr, default=0.0) == 0 for step in steps) and len(steps) == observation.step_count:
        return None  # something else sets the rate
    at_zero = [(first, end) for first, end, rate in spans if rate <= 1e-9 * peak]
    if len(made) > 1 or not at_zero:
        return None
    count = sum(end - first for first, end in at_zero)
    leading = at_zero[0][0] == spans[0][0]
    to_the_end = at_zero[-1][1] == spans[-1][1]
    if count < _MOST_ZERO or (not (leading or to_the_end) and count < 0.1 * observation.step_count):
        return None
    if to_the_end and not leading and count < 0.05 * observation.step_count:
        return None
    if leading and count < _MOST_ZERO + len(at_zero) and count < 0.05 * observation.step_count:
        return None
    when = "from the first step on" if leading else f"from step {at_zero[0][0]} on"
    return evidence(
        observation,
        _source(events, made),
        seen={"lr": 0.0, "steps_at_0": count, "of": observation.step_count},
        expected={"lr": "above 0", "steps_at_0": 0},
        step=at_zero[0][0],
        title=f"the schedule sets the learning rate to 0 {when}: {count} of {observation.step_count} steps changed nothing",
        fix="Check the unit in which the schedule counts, and that its factor is 1 (not 0) where it begins; end the training "
        "where the schedule ends.",
        harm="measured",
    )


def _per_batch(
    observation: Observation, events: list[Event], made: list[Event], steps: list[Step]
) -> Evidence | None:
    if len(events) < 15 or not _many_batches(observation):
        return None
    optimizers = max(1, sum(1 for entry in observation.optimizers if entry.steps))
    taken = (events[-1].step - events[0].step) / optimizers
    cls = events[-1].detail["cls"]
    if not taken or len(events) / taken < 0.9 or cls in ("OneCycleLR", "CyclicLR"):
        return None
    spans = _spans(observation, events, made)
    if not spans:
        return None
    total = sum(end - first for first, end, _ in spans)
    peak = max(rate for _, _, rate in spans)
    low = spans[-1][2]

    def share(part: float) -> float:
        return sum(end - first for first, end, rate in spans if rate < part * peak) / max(1, total)

    done = _part_of_first_pass(observation)
    period, reached = events[-1].detail.get("period"), events[-1].detail.get("last_epoch")
    if cls == "CosineAnnealingLR" and isinstance(period, (int, float)) and isinstance(reached, (int, float)):
        if not (period < 50 and reached > 2 * period and not _fits_an_epoch(observation, int(period))):
            return None
        seen: dict[str, object] = {"T_max": period, "times_stepped": reached}
        title = (
            f"{cls}(T_max={period:g}) is stepped after every batch: the learning rate runs up and down, "
            f"{reached / period:.0f} half waves so far"
        )
        expected: dict[str, object] = {"times_stepped": f"at most {period:g}"}
    elif cls == "CosineAnnealingWarmRestarts":
        return None
    elif low < 0.02 * peak and (
        (share(0.01) >= 0.4 and (total <= 150 or cls != "ReduceLROnPlateau"))
        or (cls in _BY_EPOCH and total <= 150 and share(0.02) >= 0.3)
        or (cls in _BY_EPOCH and 0 < done < 0.75)
    ):
        seen = {"lr_at_first": peak, "lr_now": low, "steps": observation.step_count}
        expected = {"lr_now": "a part of the first that still trains"}
        title = f"{cls} is stepped after every batch: after {observation.step_count} steps the learning rate is {low:.2g}, "
        title += f"{percent(low / peak)} of {peak:.2g}" if low > 1e-4 * peak else f"it began at {peak:.2g}"
        if 0 < done < 1:
            title += f", with {percent(done)} of the first epoch done"
    else:
        return None
    return evidence(
        observation,
        events[0].place,
        seen=seen,
        expected=expected,
        step=next((first for first, _, rate in spans if rate < 0.02 * peak), events[0].step),
        title=title,
        harm="measured",
    )


def _too_early(
    observation: Observation, optimizer: Optimizer, events: list[Event], steps: list[Step]
) -> Evidence | None:
    first = steps[0]
    early = [event for event in events if event.order < first.order]
    if not early or optimizer.place is None or early[0].detail["given"]:
        return None
    if any(event.order < early[0].order for event in observation.of_kind("scaler_step")):
        return None  # the scaler skipped a step that overflowed
    if any(backward.order < early[0].order for backward in observation.backwards) and len(events) < 2:
        return None
    repeated = len(early) > 1 and not any(
        early[0].order < backward.order < early[-1].order for backward in observation.backwards
    )
    numbers = {event.detail["number"] for event in early}
    if repeated and len(early) > len(numbers):
        return None  # brought to where a resumed run had stopped
    return evidence(
        observation,
        early[0].place,
        seen={"scheduler_steps_before_the_optimizers": len(early), "lr_of_first_step": first.lr[0]},
        expected={"scheduler_steps_before_the_optimizers": 0},
        step=early[0].step,
        title="scheduler.step() runs before the first optimizer.step(): the first value of the schedule is skipped",
        fix="Call scheduler.step() after optimizer.step(), at the end of the epoch.",
        harm="possible",
    )


def _source(events: list[Event], made: list[Event]):  # type: ignore[no-untyped-def]
    return next((event.place for event in [*made[-1:], *events] if event.place is not None), None)


def _many_batches(observation: Observation) -> bool:
    """Returns whether training goes over batches of its data, not over all of it at each step."""
    for loader in observation.loaders:
        if loader.trained and loader.batch and loader.examples > loader.batch:
            return True
    known: dict[int, list[int]] = {}
    for forward in observation.forwards:
        if forward.grad_enabled and forward.examples:
            before = known.setdefault(forward.module, forward.examples)
            if before != forward.examples:
                return True
    return False


def _length(observation: Observation) -> list[int]:
    """Returns the number of batches in a pass of each loader that trains."""
    return [
        -(-loader.examples // loader.batch)
        for loader in observation.loaders
        if loader.trained and loader.batch and loader.examples > 0
    ]


def _part_of_first_pass(observation: Observation) -> float:
    """Returns how much of the first pass over the training loader is done, 0 if that cannot be told or it is over."""
    loaders = [loader for loader in observation.loaders if loader.trained and loader.batch]
    if len(loaders) != 1 or loaders[0].passes > 1 or loaders[0].examples <= 0:
        return 0.0
    return loaders[0].batches / -(-loaders[0].examples // loaders[0].batch)


def _fits_an_epoch(observation: Observation, period: int) -> bool:
    return any(period >= length and period % max(1, length) == 0 for length in _length(observation))


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(480, 8)
loader = DataLoader(TensorDataset(inputs, inputs[:, :1] - inputs[:, 1:2]), batch_size=16, shuffle=True)
network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
scheduler = torch.optim.lr_scheduler.{scheduler}
for epoch in range(5):
    for batch, target in loader:
        optimizer.zero_grad()
        F.mse_loss(network(batch), target).backward()
        optimizer.step()
{after}
"""
_BATCH, _EPOCH = "        scheduler.step()", "    scheduler.step()"
bad = _PROGRAM.replace("{scheduler}", "StepLR(optimizer, step_size=10, gamma=0.1)").replace("{after}", _BATCH)
good = _PROGRAM.replace("{scheduler}", "StepLR(optimizer, step_size=2, gamma=0.1)").replace("{after}", _EPOCH)
near_miss = _PROGRAM.replace(
    "{scheduler}", "OneCycleLR(optimizer, max_lr=0.1, total_steps=5 * len(loader))"
).replace("{after}", _BATCH)

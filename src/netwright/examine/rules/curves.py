"""What the rules on optimisation share: the loss over the run, weights in the order in which they run, their sizes."""

from __future__ import annotations

import math
from statistics import mean, median

from netwright.examine.observation import Loss, Observation, Optimizer, Step

NORMED = 16_384  # values of a parameter that Step.norms is taken of


def finite_curve(observation: Observation, most: int = 5_000) -> list[float]:
    """Returns the loss of each backward, without those that are not finite."""
    return [value for _, value in observation.curve[:most] if math.isfinite(value)]


def ends(values: list[float]) -> tuple[float, float]:
    """Returns the mean of the first and of the last tenth (at least 5 values) of a curve."""
    size = min(len(values), max(5, len(values) // 10))
    return mean(values[:size]), mean(values[-size:])


def weights(observation: Observation) -> list[int]:
    """Returns the uids of the weights of layers (matrices and kernels), in the order in which their layers ran first."""
    ran: dict[int, int] = {}
    for layer in observation.layers:
        ran.setdefault(layer.module, layer.order)
    found = []
    for parameter in observation.parameters:
        if parameter.buffer or len(parameter.shape) < 2 or parameter.module not in ran:
            continue
        if observation.modules[parameter.module].cls.startswith("Embedding"):
            continue
        found.append((ran[parameter.module], parameter.uid))
    return [uid for _, uid in sorted(found)]


def whole_norm(observation: Observation, step: Step, uid: int) -> float:
    """Returns the norm of a parameter before a step; of a large one it is estimated from a part of its values."""
    count = math.prod(observation.parameters[uid].shape)
    return step.norms.get(str(uid), math.nan) * math.sqrt(max(1.0, count / NORMED))


def steps_of(observation: Observation, optimizer: Optimizer) -> list[Step]:
    """Returns the sampled steps of an optimizer."""
    return [step for step in observation.steps if step.optimizer == optimizer.uid and step.sampled]


def medians(observation: Observation, steps: list[Step], uids: list[int]) -> dict[int, float]:
    """Returns for each weight the median over steps of its gradient's norm over its own norm; zeros are left out."""
    found = {}
    for uid in uids:
        values = [
            size / norm
            for step in steps
            if (size := step.gradients.get(str(uid), 0.0)) > 0
            and math.isfinite(size)
            and (norm := whole_norm(observation, step, uid)) > 0
        ]
        if len(values) >= max(2, len(steps) // 2):
            found[uid] = median(values)
    return found


def chance(observation: Observation) -> float | None:
    """Returns the loss of always predicting the same, None if the program trains on no loss function that has one.

    That is the entropy of the labels seen for a cross-entropy, the variance of the targets for a squared error.
    """
    losses = [loss for loss in observation.losses if loss.grad_enabled and loss.prediction_grad]
    functions = {loss.function for loss in losses}
    if len(functions) != 1 or any(loss.options.get("reduction", "mean") != "mean" for loss in losses):
        return None
    if functions <= {"cross_entropy", "nll_loss"}:
        total = [sum(column) for column in zip(*(loss.histogram for loss in losses if loss.histogram))]
        if sum(1 for count in total if count) < 2 or any("weight" in loss.options for loss in losses):
            return None
        if any(loss.options.get("label_smoothing", 0.0) for loss in losses):
            return None
        shares = [count / sum(total) for count in total if count]
        return -sum(share * math.log(share) for share in shares)
    if functions == {"mse_loss"}:
        targets = [loss.target for loss in losses if loss.target is not None]
        if not targets:
            return None
        centre = mean(entry.mean for entry in targets)
        return mean(entry.std**2 + (entry.mean - centre) ** 2 for entry in targets)
    if functions == {"binary_cross_entropy_with_logits"} or functions == {"binary_cross_entropy"}:
        targets = [loss.target for loss in losses if loss.target is not None]
        share = mean(entry.mean for entry in targets) if targets else 0.0
        if not 0 < share < 1 or any("weight" in key for loss in losses for key in loss.options):
            return None
        if any(entry.min not in (0.0, 1.0) or entry.max not in (0.0, 1.0) for entry in targets):
            return None
        return -share * math.log(share) - (1 - share) * math.log(1 - share)
    return None


_DRAWS = frozenset(
    ["randint", "randn", "rand", "bernoulli", "multinomial", "randint_like", "rand_like", "randn_like"]
)


def random_targets(observation: Observation, loss: Loss) -> bool:
    """Returns whether the targets were seen to be drawn at random, independent of any input."""
    if loss.op < 0:
        return False
    op = observation.ops[loss.op]
    target = observation.operand(op, "target") or (op.inputs[1] if len(op.inputs) > 1 else None)
    if target is None or target.op < 0:
        return False
    made = observation.ops[target.op]
    behind = [made, *observation.ancestors(made)]
    prediction = observation.operand(op, "input")
    source = observation.made(prediction) if prediction is not None else None
    inputs = {entry.index for entry in observation.ancestors(source)} if source is not None else set()
    drawn = [entry for entry in behind if entry.name in _DRAWS]
    return bool(drawn) and not any(entry.index in inputs for entry in drawn)

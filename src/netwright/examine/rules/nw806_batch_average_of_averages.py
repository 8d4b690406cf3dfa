"""NW806: the mean of batch means, with an uneven last batch."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from netwright.examine.observation import EvaluationPass, Loss, Observation, Place
from netwright.examine.overlap import evaluating_loop
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW806",
    slug="batch-average-of-averages",
    level="advice",
    by="epoch",
    title="the evaluation averages the means of its batches, and the last batch is smaller",
    what="In an evaluation the mean of each batch is added up and divided by the number of batches, though the batches are of "
    "different sizes.",
    why="Each example of the small last batch counts more than the others, so that the score depends on the batch size. The "
    "difference is small with many batches and large with few.",
    fix="Add up the sums (correct answers, or loss times batch size) and divide by the number of examples.",
    example="total += loss.item(); total / len(loader)                          # wrong\n"
    "total += loss.item() * len(x); total / len(loader.dataset)         # right",
    limits="Sees means that are added up in the loop of an evaluation, and a division by the length of what the loop runs over. "
    "Silent where batches are equal, and on the running loss of training.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    uneven = [seen for seen in observation.passes if seen.complete and _uneven(seen)]
    if not observation.passes:
        raise NotObserved("no evaluation was seen")
    for seen in uneven:
        found = _averaged(seen)
        if found is None:
            continue
        place, name = found
        seen_losses = [loss for loss in observation.losses if _within(loss, seen, observation)]
        figures = _figures(seen, seen_losses)
        yield evidence(
            observation,
            place,
            seen={"batch_sizes": [seen.sizes[0], seen.sizes[-1]], "batches": len(seen.sizes), **figures},
            expected={"batch_sizes": "equal, or weighted by their size"},
            layer=-1,
            step=seen.step,
            title=f"{name} is a mean of batch means, with batches of {seen.sizes[0]} and a last one of {seen.sizes[-1]}",
            fact="likely" if not figures else "proved",
        )
        return


def _uneven(seen: EvaluationPass) -> bool:
    sizes = seen.sizes
    return (
        len(sizes) > 1 and len(set(sizes[:-1])) == 1 and 0 < sizes[-1] < 0.9 * sizes[0] and seen.loader >= 0
    )


def _within(loss: Loss, seen: EvaluationPass, observation: Observation) -> bool:
    after = min((batch.order for batch in observation.trained if batch.order > seen.order), default=1 << 60)
    return not loss.grad_enabled and seen.order < loss.order < after and loss.value is not None


def _figures(seen: EvaluationPass, losses: list[Loss]) -> dict[str, float]:
    """Returns both means where the loss of every batch is known and they differ."""
    values = [loss.value for loss in losses[: len(seen.sizes)] if loss.value is not None]
    if len(values) != len(seen.sizes):
        return {}
    exact = sum(value * size for value, size in zip(values, seen.sizes)) / sum(seen.sizes)
    return {"mean_of_means": round(sum(values) / len(values), 6), "exact_mean": round(exact, 6)}


def _averaged(seen: EvaluationPass) -> tuple[Place, str] | None:
    """Returns the line that adds a batch's mean up, and the name of the sum, if it is divided by the number of batches."""
    found = evaluating_loop(seen.place)
    if found is None or seen.place is None:
        return None
    loop, scope = found
    over = ast.unparse(loop.iter)
    for node in ast.walk(loop):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            name, added, line = ast.unparse(node.target), node.value, node.lineno
            divided = _divided(scope, name, over)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append"
        ):
            if not node.args:
                continue
            name, added, line = ast.unparse(node.func.value), node.args[0], node.lineno
            divided = _meant(scope, name)
        else:
            continue
        if divided and _is_mean(loop, added):
            return Place(seen.place.file, line, seen.place.function), name
    return None


def _is_mean(loop: ast.For, value: ast.expr) -> bool:
    """Returns whether an expression is a batch's mean: .mean(), or a loss of PyTorch, and not multiplied by anything."""
    text = ast.unparse(value)
    if any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) for node in ast.walk(value)):
        return False
    if ".sum(" in text or "len(" in text or "reduction='sum'" in text or "reduction='none'" in text:
        return False
    if ".mean(" in text or any(word in text for word in ("cross_entropy", "mse_loss", "nll_loss", "l1_loss")):
        return True
    bare = text.split(".item")[0].split(".detach")[0].removeprefix("float(").rstrip(")")
    for node in ast.walk(loop):
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == bare for target in node.targets):
            made = ast.unparse(node.value)
            if isinstance(node.value, ast.Call) and ".sum(" not in made:
                return ".mean(" in made or "loss" in bare or "criterion" in made
    return False


def _divided(scope: ast.AST, name: str, over: str) -> bool:
    for node in ast.walk(scope):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and ast.unparse(node.left) == name:
            return ast.unparse(node.right) == f"len({over})"
        if (
            isinstance(node, ast.AugAssign)
            and isinstance(node.op, ast.Div)
            and ast.unparse(node.target) == name
        ):
            return ast.unparse(node.value) == f"len({over})"
    return False


def _meant(scope: ast.AST, name: str) -> bool:
    texts = [ast.unparse(node) for node in ast.walk(scope) if isinstance(node, (ast.Call, ast.BinOp))]
    wanted = (
        f"sum({name}) / len({name})",
        f"mean({name})",
        f"tensor({name}).mean()",
        f"stack({name}).mean()",
    )
    return any(text.endswith(wanted) for text in texts)


_PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(410, 20)
labels = (inputs @ torch.randn(20, 4)).argmax(1)
train_loader = DataLoader(TensorDataset(inputs[:300], labels[:300]), batch_size=30, shuffle=True)
test_loader = DataLoader(TensorDataset(inputs[300:], labels[300:]), batch_size={size})
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
criterion = nn.CrossEntropyLoss()
for epoch in range(3):
    running = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(network(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()
    total = 0.0
    with torch.no_grad():
        for x, y in test_loader:
            loss = criterion(network(x), y)
            total += {added}
    print(epoch, running / len(train_loader), total / {by})
"""
bad = _PROGRAM.replace("{size}", "50").replace("{added}", "loss.item()").replace("{by}", "len(test_loader)")
good = _PROGRAM.replace("{size}", "50").replace("{added}", "loss.item() * len(x)").replace("{by}", "110")
near_miss = (
    _PROGRAM.replace("{size}", "55").replace("{added}", "loss.item()").replace("{by}", "len(test_loader)")
)

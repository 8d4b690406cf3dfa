"""Which evaluation passes ran on examples that the network was trained on, and what the source says about them.

The rules NW207 and NW805 judge by this. Figures come from fingerprints; a lower bound of the overlap is always known, since of
the training examples a sample is. What a pass was meant for, only the program's own words can tell: the names that its
result is assigned to, the texts printed beside it, the names of the data that it is given.
"""

from __future__ import annotations

import ast
import linecache
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from netwright.examine.observation import EvaluationPass, Loss, Observation, Place, TrainedBatch

FEWEST = 20  # distinct examples that a judgement needs
FEWEST_MATCHES = 5
WHOLE = 0.97  # sampled training examples in the pass: it covers the training set
SMALL = 0.05  # what the fault catalogue takes for duplicates in the data


@dataclass(frozen=True)
class Overlap:
    """One evaluation pass beside what the network had been trained on before it."""

    seen: EvaluationPass
    matches: int
    share: float  # of the pass's distinct examples that were seen in training: a lower bound
    of_training: float  # of the sampled training examples that are in the pass
    trained: int  # size of the training set: of its loader, else of the sample
    distinct: int
    repeated: float  # share of the pass's examples that repeat others of the pass
    own_loader: bool  # it iterates over the very loader that was trained on
    other_loader: bool  # it iterates over a loader that was never trained on
    clean_beside: bool  # another pass of the network ran on examples that it was not trained on
    natural: float  # matches that as many duplicates as there are on each side account for, at most

    @property
    def likely(self) -> float:
        """The share, from the sample to the whole."""
        return max(self.share, min(1.0, self.of_training * self.trained / max(1, self.distinct)))


def overlaps(observation: Observation) -> list[Overlap]:
    """Returns the passes that can be judged, and overlap in more than a handful of examples, the largest first."""
    found = []
    dim = {batch.module for batch in observation.trained if trained_in_part(observation, batch.module)}
    for seen in observation.passes:
        if seen.module in dim or (not seen.complete and observation.ended not in ("", "end", "exit")):
            continue
        overlap = _overlap(observation, seen)
        if overlap is not None and overlap.matches >= FEWEST_MATCHES:
            found.append(overlap)
    return sorted(found, key=lambda entry: -entry.likely)


def judgeable(observation: Observation) -> str:
    """Returns why nothing can be said about any pass, "" if something can."""
    if not observation.passes:
        return "no evaluation was seen"
    if not observation.trained:
        return "no training examples could be read (the network does not get plain tensors)"
    roots = {batch.module for batch in observation.trained}
    if all(trained_in_part(observation, root) for root in roots):
        return "the loss takes a part of the outputs only (masks), so that examples cannot be told apart by their inputs"
    if not any(_readable(seen) for seen in observation.passes):
        return "no evaluation on at least 20 different examples was seen"
    return ""


def _readable(seen: EvaluationPass) -> bool:
    return len(set(seen.examples)) >= FEWEST and seen.bits >= 20


def _overlap(observation: Observation, seen: EvaluationPass) -> Overlap | None:
    measured = seen.compared or seen.exported or seen.grad_enabled or _known_site(observation, seen)
    trains_here = seen.grad_enabled and seen.place in {batch.place for batch in observation.trained}
    if not _readable(seen) or not measured or trains_here:
        return None
    own = _related(observation, seen)
    before = [
        batch
        for batch in observation.trained
        if batch.order < seen.order and batch.optimizers == seen.optimizers
    ]
    before = [batch for batch in before if own is None or batch.module == own]
    if own is None and _companion(observation, seen):
        return None
    trained = {mark for batch in before for mark in batch.examples}
    examples = set(seen.examples)
    if len(trained) < FEWEST or _mixed(seen, trained):
        return None
    common = len(trained & examples)
    repeated = 1 - len(examples) / len(seen.examples)
    scale = max(1.0, seen.count / max(1, len(seen.examples)))
    loaders = {batch.loader for batch in before if batch.loader >= 0}
    sizes = [observation.loaders[uid].examples for uid in loaders if observation.loaders[uid].examples > 0]
    dataset = observation.loaders[seen.loader] if seen.loader >= 0 else None
    return Overlap(
        seen,
        common,
        common / len(examples),
        min(1.0, common / len(trained) * scale),
        max([len(trained), *sizes]),
        round(len(examples) * scale),
        repeated,
        dataset is not None and dataset.trained > 0,
        dataset is not None and dataset.trained == 0,
        _clean_beside(observation, seen, examples),
        _natural(seen.examples, before, len(trained)),
    )


def _natural(evaluated: list[int], batches: list[TrainedBatch], trained: int) -> float:
    """Returns how many evaluated examples may equal a training example if both were drawn from the same data at random.

    Different messages may have the same words, so their vectors coincide without a leak; then they do so among the evaluated
    examples as well, and within the batches of the training. Two examples are equal at the lower of these two rates (batches
    drawn with replacement repeat examples anyway), a standard deviation added; what comes often (a blank page) counts once.
    """
    counts = Counter(evaluated).values()
    often = sum(count > 3 for count in counts)
    rate = _at_most(sum(count in (2, 3) for count in counts)) / (len(evaluated) ** 2 / 2)
    whole = {tuple(batch.examples) for batch in batches if batch.size == len(batch.examples)}
    pairs = min(sum(len(marks) ** 2 for marks in whole), trained**2) / 2
    if pairs:
        rate = min(rate, _at_most(sum(len(marks) - len(set(marks)) for marks in whole)) / pairs)
    return rate * len(evaluated) * trained + often


def _at_most(count: int) -> float:
    """Returns what may lie behind a count by chance."""
    return count + 1 + math.sqrt(count + 1)


def _known_site(observation: Observation, seen: EvaluationPass) -> bool:
    """The same line compared its outputs in another pass."""
    return any(
        other.place == seen.place and other.compared and seen.place is not None
        for other in observation.passes
    )


def _related(observation: Observation, seen: EvaluationPass) -> int | None:
    """Returns the root whose training counts, None for all: a root that never trained itself (a copy, an inner part)."""
    return seen.module if any(batch.module == seen.module for batch in observation.trained) else None


def _companion(observation: Observation, seen: EvaluationPass) -> bool:
    """Returns whether a pass only accompanies a training step: a teacher, a target network, frozen features."""
    after = next((batch for batch in observation.trained if batch.order > seen.order), None)
    return after is not None and set(seen.examples) <= set(after.examples)


def _clean_beside(observation: Observation, seen: EvaluationPass, examples: set[int]) -> bool:
    trained = {mark for batch in observation.trained for mark in batch.examples}
    for other in observation.passes:
        theirs = set(other.examples)
        if other is seen or len(theirs) < FEWEST // 2 or len(theirs & examples) > len(theirs) / 2:
            continue
        if len(theirs & trained) <= SMALL * len(theirs) or _mixed(other, trained):
            return True
    return _mixed(seen, trained)


def held_out(observation: Observation, root: int) -> set[int]:
    """Returns the fingerprints of the examples that a network was evaluated on and, as far as is known, never trained on."""
    trained = {mark for batch in observation.trained for mark in batch.examples}
    clean: set[int] = set()
    for seen in observation.passes:
        theirs = set(seen.examples)
        if seen.module == root and len(theirs) >= 10 and len(theirs & trained) <= SMALL * len(theirs):
            clean |= theirs
    return clean


def _mixed(seen: EvaluationPass, trained: set[int]) -> bool:
    """Returns whether one run of forwards holds no training example at all and another does: two sets in one pass."""
    if seen.loader >= 0 or len(seen.sizes) < 2 or claim(seen).given:
        return False
    shares, start = [], 0
    for size in seen.sizes:
        some = seen.examples[start : start + size]
        start += size
        if some:
            shares.append((len(some), sum(mark in trained for mark in some)))
    if not any(hits for _, hits in shares):
        return False
    run = longest = 0
    for size, hits in shares:
        run = 0 if hits else run + size
        longest = max(longest, run)
    return longest >= max(FEWEST // 2, len(seen.examples) / 5)


def trained_in_part(observation: Observation, root: int) -> bool:
    """Returns whether the loss takes only some of the rows that went in: graphs with masks, unlabelled targets."""
    forwards = [entry for entry in observation.forwards if entry.grad_enabled and entry.shape]
    latest, position = None, 0
    for loss in observation.losses:
        while position < len(forwards) and forwards[position].order < loss.order:
            latest, position = forwards[position], position + 1
        if latest is None or latest.step != loss.step or not (loss.grad_enabled and loss.prediction_grad):
            continue
        if _fits(observation, latest.module, root) and _partial(loss, latest.shape[0]):
            return True
    for forward in observation.forwards:
        if not forward.grad_enabled or not _fits(observation, forward.module, root):
            continue
        if forward.shape and len(forward.output) > 1 and forward.output[0] < forward.shape[0]:
            return True
    return any(_masks(observation, index, root) for index in range(len(observation.ops)))


def _fits(observation: Observation, module: int, root: int) -> bool:
    return observation.modules[module].root == root


def _partial(loss: Loss, rows: int) -> bool:
    first = loss.prediction_shape[0] if loss.prediction_shape else 0
    some = loss.options.get("reduction") == "none" and len(loss.prediction_shape) <= 2
    return 1 < first < 0.9 * rows or loss.ignored > 0.02 or some


def _masks(observation: Observation, index: int, root: int) -> bool:
    op = observation.ops[index]
    if op.module >= 0 or not op.grad or not op.inputs:
        return False
    first = op.inputs[0]
    if op.name in ("getitem", "index_select", "masked_select", "index"):
        made = observation.made(first)
        inside = made is not None and made.module >= 0 and _fits(observation, made.module, root)
        return inside and bool(op.shape) and bool(first.shape) and op.shape[0] < first.shape[0]
    if op.name in ("mul", "where", "masked_fill"):
        return any(
            entry.dtype == "bool"
            or (
                not entry.grad
                and entry.stats is not None
                and entry.stats.size > 1
                and entry.stats.zero > 0
                and (entry.stats.min, entry.stats.max) == (0.0, 1.0)
            )
            for entry in op.inputs
        )
    return False


# -- what the source says ------------------------------------------------------------------------------------------------

HELD_OUT = frozenset(
    [
        "test",
        "tests",
        "testing",
        "tested",
        "val",
        "valid",
        "validation",
        "validate",
        "heldout",
        "held",
        "holdout",
        "dev",
        "unseen",
        "oos",
    ]
)
TRAINED_ON = frozenset(["train", "training", "trained", "fit"])
_LOUD = frozenset(
    ["print", "info", "log", "write", "warning", "debug", "append", "add_scalar", "format", "update"]
)


def words(names: Iterable[str]) -> set[str]:
    """Returns the words in identifiers and texts.

    >>> sorted(words(["X_test", "valLoader: {:.3f}"]))
    ['f', 'loader', 'test', 'val', 'x']
    """
    found: set[str] = set()
    for name in names:
        split = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
        found.update(re.findall(r"[a-z]+", split.lower()))
    return found


@dataclass(frozen=True)
class Claim:
    """What the source says of a pass."""

    said: bool  # its result is called a test or validation result, and not one of training
    training: bool  # its result is called one of training
    given: bool  # the data that it is given are called test or validation data
    place: Place | None  # where the data are chosen
    unused: str  # a name of held-out data that the program never uses


def claim(seen: EvaluationPass) -> Claim:
    """Returns what the source says of an evaluation pass; nothing where it cannot be read."""
    place = seen.place
    if place is None:
        return Claim(False, False, False, place, "")
    tree = _tree(place.file)
    if tree is None:
        return Claim(False, False, False, place, "")
    said: set[str] = set()
    given: set[str] = set()
    chosen = place
    data, function = _data_names(tree, place)
    outside = data and function is not None and set(data) & _parameters(function)
    if function is not None and not isinstance(function, ast.Lambda):
        said |= words([function.name])
    if not outside:
        given |= words(data)
        said |= _said(tree, place.line)
        for_line = _for_line(tree, place)
        chosen = Place(place.file, for_line, place.function) if for_line else place
    caller = seen.caller
    if caller is not None and function is not None:
        above = _tree(caller.file)
        if above is not None:
            said |= _said(above, caller.line)
            if outside or not data:
                statement = _statement(above, caller.line)
                given |= words(_loads(statement)) if statement is not None else set()
                chosen = caller
    return Claim(
        bool(said & HELD_OUT) and not said & TRAINED_ON,
        bool(said & TRAINED_ON),
        bool(given & HELD_OUT) and not given & TRAINED_ON,
        chosen,
        _unused(tree),
    )


def origin(place: Place | None) -> Place | None:
    """Returns where the held-out data that are used at a place were made: through test_loader back to the split."""
    tree = _tree(place.file) if place is not None else None
    statement = _statement(tree, place.line) if tree is not None and place is not None else None
    if place is None or tree is None or statement is None:
        return place
    names = [name for name in _loads(_head(statement)) if words([name]) & HELD_OUT]
    line, known = place.line, set(names)
    while names:
        made = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and names[0] in _stores(node)]
        before = [node for node in made if node.lineno <= line] or made
        if not before:
            break
        line = before[-1].lineno
        names = [name for name in _loads(before[-1].value) if words([name]) & HELD_OUT and name not in known]
        known.update(names)
    return Place(place.file, line, place.function)


@lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _tree(file: str) -> ast.Module | None:
    lines = linecache.getlines(file)
    return _parsed("".join(lines)) if lines else None


def _holds(node: ast.AST, line: int) -> bool:
    return getattr(node, "lineno", 0) <= line <= (getattr(node, "end_lineno", 0) or 0)


def statement_line(place: Place | None) -> Place | None:
    """Returns where the statement begins that goes over a line: the list's or dictionary's first line."""
    tree = _tree(place.file) if place is not None else None
    if place is None or tree is None:
        return None
    statement = _statement(tree, place.line)
    return place._replace(line=statement.lineno) if statement is not None else None


def _statement(tree: ast.AST, line: int) -> ast.stmt | None:
    """Returns the innermost statement at a line."""
    inside = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and _holds(node, line)]
    return min(inside, key=lambda node: (node.end_lineno or 0) - node.lineno, default=None)


def _head(statement: ast.stmt) -> ast.AST:
    """Returns the statement without the block below it."""
    if isinstance(statement, (ast.For, ast.AsyncFor)):
        return statement.iter
    if isinstance(statement, (ast.While, ast.If)):
        return statement.test
    return statement


def _function(tree: ast.AST, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    inside = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _holds(node, line)
    ]
    return max(inside, key=lambda node: node.lineno, default=None)


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    given = function.args
    return {entry.arg for entry in (*given.posonlyargs, *given.args, *given.kwonlyargs)}


def _loads(node: ast.AST) -> list[str]:
    found = []
    for entry in ast.walk(node):
        if isinstance(entry, ast.Name) and isinstance(entry.ctx, ast.Load):
            found.append(entry.id)
        elif isinstance(entry, ast.Attribute):
            found.append(entry.attr)
    return found


def _stores(node: ast.AST) -> set[str]:
    return {
        entry.id if isinstance(entry, ast.Name) else entry.attr
        for entry in ast.walk(node)
        if isinstance(entry, (ast.Name, ast.Attribute)) and isinstance(entry.ctx, ast.Store)
    }


def _loops(tree: ast.AST, place: Place) -> list[ast.For]:
    function = _function(tree, place.line)
    return [
        node
        for node in ast.walk(function or tree)
        if isinstance(node, ast.For) and _holds(node, place.line) and node.lineno < place.line
    ]


def _data_names(
    tree: ast.AST, place: Place
) -> tuple[list[str], ast.FunctionDef | ast.AsyncFunctionDef | None]:
    """Returns the names of the data at a forward: of the innermost loop over something, else of the call itself."""
    function = _function(tree, place.line)
    statement = _statement(tree, place.line)
    called = set(_loads(_head(statement))) if statement is not None else set()
    for loop in reversed(_loops(tree, place)):
        if _stores(loop.target) & called:
            return _loads(loop.iter), function
    return list(called), function


def _for_line(tree: ast.AST, place: Place) -> int:
    statement = _statement(tree, place.line)
    called = set(_loads(_head(statement))) if statement is not None else set()
    for loop in reversed(_loops(tree, place)):
        if _stores(loop.target) & called:
            return loop.lineno
    return 0


def _texts(node: ast.AST) -> Iterator[str]:
    for entry in ast.walk(node):
        if isinstance(entry, ast.Constant) and isinstance(entry.value, str):
            yield entry.value


def _said(tree: ast.AST, line: int) -> set[str]:
    """Returns the words that a statement calls its result by, and those printed with it."""
    statement = _statement(tree, line)
    if statement is None or isinstance(statement, (ast.For, ast.While, ast.With, ast.If, ast.FunctionDef)):
        return set()
    found = words(_texts(statement)) | words(_stores(statement))
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = statement.value.func
        if isinstance(called, ast.Attribute) and called.attr in ("append", "update", "extend"):
            found |= words(_loads(called.value))
    results = _stores(statement)
    function: ast.AST = _function(tree, line) or tree
    for later in ast.walk(function):
        if isinstance(later, ast.Expr) and isinstance(later.value, ast.Call) and later.lineno > line:
            called = later.value.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in _LOUD and later.lineno <= line + 12:
                found |= _said_of(later.value, results)
    return found


def _said_of(call: ast.Call, results: set[str]) -> set[str]:
    """Returns the words of a print right before one of these results; of all its text if it prints nothing else."""
    parts: list[ast.AST] = []
    for argument in call.args:
        parts.extend(argument.values if isinstance(argument, ast.JoinedStr) else [argument])
    shown = [part for part in parts if not isinstance(part, ast.Constant)]
    hits = [part for part in shown if set(_loads(part)) & results]
    if not hits:
        return set()
    found: set[str] = set()
    for hit in hits:
        at = parts.index(hit)
        before = next((part for part in reversed(parts[:at]) if isinstance(part, ast.Constant)), None)
        if before is not None and isinstance(before.value, str):
            found |= words([before.value])
    return found


def _unused(tree: ast.Module) -> str:
    """Returns a name of held-out data that is assigned and never used but to make other such names, "" if there is none."""
    made: dict[str, int] = {}
    used: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.Assign) and (stores := _stores(node)):
            mine = {name for name in stores if words([name]) & HELD_OUT}
            for name in mine:
                made.setdefault(name, node.lineno)
            if mine and mine == stores:
                return
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len":
            return
        if isinstance(node, ast.Attribute) and node.attr in ("shape", "size", "dtype"):
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree)
    data = [
        name
        for name in made
        if (name not in used and words([name]) & _DATA_WORDS) or name in _bare(made, used)
    ]
    return min(data, key=lambda name: -made[name], default="")


_DATA_WORDS = frozenset(
    [
        "x",
        "y",
        "loader",
        "set",
        "data",
        "dataset",
        "ds",
        "dl",
        "inputs",
        "images",
        "features",
        "labels",
        "targets",
        "iter",
        "batches",
        "dataloader",
        "samples",
        "split",
        "df",
        "idx",
    ]
)


def _bare(made: dict[str, int], used: set[str]) -> set[str]:
    return {
        name
        for name in made
        if name not in used and name.lower() in ("test", "val", "valid", "held_out", "heldout")
    }


def loop_line(place: Place | None) -> Place | None:
    """Returns the line of the innermost loop around a place, in the same function, None if there is none."""
    tree = _tree(place.file) if place is not None else None
    loops = _loops(tree, place) if tree is not None and place is not None else []
    return Place(place.file, max(loop.lineno for loop in loops), place.function) if loops and place else None


def evaluating_loop(place: Place | None) -> tuple[ast.For, ast.AST] | None:
    """Returns the innermost loop around a place, and the function (or module) that holds it."""
    tree = _tree(place.file) if place is not None else None
    if tree is None or place is None:
        return None
    loops = _loops(tree, place)
    return (max(loops, key=lambda loop: loop.lineno), _function(tree, place.line) or tree) if loops else None

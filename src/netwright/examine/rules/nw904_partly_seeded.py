"""NW904: some sources of randomness are seeded, others that are used are not."""

from __future__ import annotations

import linecache
from collections.abc import Iterator

from netwright.examine.observation import Event, Observation
from netwright.examine.rules import closing, evidence, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW904",
    slug="partly-seeded",
    level="advice",
    by="epoch",
    title="some random generators are seeded, others that are used are not",
    what="The program seeds a generator (torch, numpy or Python's random), so it is meant to give the same result twice; but it "
    "also draws from one that it does not seed, or puts a set of strings into an order that Python changes in every process.",
    why="Two runs differ although a seed is set: a result cannot be repeated, and a difference between two settings may be chance.",
    fix="Seed all generators that are used, at the top of the program: random.seed(s); np.random.seed(s); torch.manual_seed(s). "
    "Make vocabularies from sorted(set(words)).",
    example="torch.manual_seed(0)                                          # wrong: numpy shuffles\n"
    "torch.manual_seed(0); np.random.seed(0)                       # right\n"
    "index = {w: i for i, w in enumerate(set(words))}              # wrong: another order in every process\n"
    "index = {w: i for i, w in enumerate(sorted(set(words)))}      # right",
    limits="Sees the global generators of torch, numpy and random in the process itself, not generators of one's own "
    "(np.random.default_rng()), not those of other processes, and not nondeterministic GPU kernels. Silent where nothing is seeded.",
)
_SEEDS = {"torch": "torch.manual_seed", "numpy": "np.random.seed", "python": "random.seed"}


def check(observation: Observation) -> Iterator[Evidence]:
    seeds = list(observation.of_kind("seed"))
    seeded = sorted(name for name, known in observation.generators.items() if known.get("seeded"))
    if not seeded or not seeds:
        return
    missing = sorted(
        name
        for name, known in observation.generators.items()
        if known.get("drawn") and not known.get("seeded") and not _written(observation, name)
    )
    if missing:
        calls = " and ".join(f"{_SEEDS[name]}()" for name in missing)
        yield evidence(
            observation,
            seeds[0].place,
            seen={"seeded": seeded, "drawn_from_without_a_seed": missing},
            expected={"drawn_from_without_a_seed": []},
            step=0,
            title=f"{_names(seeded)} is seeded, but random numbers also come from {_names(missing)}, which is not",
            fix=f"Call {calls} beside {_SEEDS[seeded[0]]}().",
            diff=rewrite(seeds[0].place, lambda line: _with(line, missing)),
        )
    for event in observation.of_kind("set_order"):
        yield _order(observation, event)


def _order(observation: Observation, event: Event) -> Evidence:
    name = event.detail.get("name", "")
    return evidence(
        observation,
        event.place,
        seen={
            "order_of": f"a set of strings, kept in {name}",
            "PYTHONHASHSEED": observation.hash_seed or "not set",
        },
        expected={"order_of": "sorted"},
        step=event.step,
        title=f"a seed is set, but {name} is in the order of a set of strings, which differs in every run",
        why="Python hashes strings with a seed of its own in every process, so the same word gets another number in the next run. "
        "Two runs differ, and weights that were saved do not fit the vocabulary of the next run.",
        fix="Sort the set before it is numbered: sorted(set(words)).",
        diff=rewrite(event.place, _sorted),
    )


def _names(names: list[str]) -> str:
    words = ["Python's random" if name == "python" else name for name in names]
    return " and ".join(words)


def _written(observation: Observation, name: str) -> bool:
    """Returns whether the script seeds a generator where it was not seen to: before it imported torch."""
    last = _SEEDS[name].removeprefix("np.")
    words = {
        "torch": ("torch.manual_seed(", "torch.random.manual_seed("),
        "numpy": ("np.random.seed(", "numpy.random.seed("),
    }
    for row in linecache.getlines(observation.script) if observation.script else []:
        text = row.strip()
        if text.startswith("#"):
            continue
        if (name == "python" and text.startswith(f"{last}(")) or any(
            word in text for word in words.get(name, ())
        ):
            return True
    return False


def _with(line: str, missing: list[str]) -> str | None:
    indent, opened = line[: len(line) - len(line.lstrip())], line.find("(")
    if not line.strip().endswith(")") or opened < 0 or closing(line, opened) != len(line.rstrip()) - 1:
        return None
    value = line[opened + 1 : line.rstrip().rindex(")")]
    return "\n".join([line, *(f"{indent}{_SEEDS[name]}({value})" for name in missing)])


def _sorted(line: str) -> str | None:
    """Returns a line with its set sorted.

    >>> _sorted("index = {w: i for i, w in enumerate(set(words))}")
    'index = {w: i for i, w in enumerate(sorted(set(words)))}'
    >>> _sorted("chars = list(set(text))")
    'chars = sorted(set(text))'
    """
    if line.count("set(") != 1:
        return None
    start = line.index("set(")
    closed = closing(line, start + 3)
    if closed < 0 or (start and (line[start - 1].isalnum() or line[start - 1] in "._")):
        return None
    whole = line[start : closed + 1]
    if f"list({whole})" in line:
        return line.replace(f"list({whole})", f"sorted({whole})")
    return f"{line[:start]}sorted({whole}){line[closed + 1 :]}"


_PROGRAM = """
import numpy as np
import torch
from torch import nn

torch.manual_seed(0){more}
inputs, labels = torch.randn(96, 8), torch.randint(0, 3, (96,))
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(3):
    order = np.random.permutation(96)
    for start in range(0, 96, 32):
        part = torch.from_numpy(order[start : start + 32])
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[part]), labels[part]).backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{more}", "")
good = _PROGRAM.replace("{more}", "\nnp.random.seed(0)")
near_miss = """
import random

import numpy as np
import torch
from torch import nn

random.seed(1)
generator = np.random.default_rng(1)
torch.manual_seed(1)
words = "the quick brown fox jumps over the lazy dog and the cat".split()
vocabulary = sorted(set(words))
stop_words = {"the", "and"}
index = {word: number for number, word in enumerate(vocabulary)}
ids = torch.tensor([index[word] for word in words if word not in stop_words] * 8)
order = generator.permutation(len(ids))
network = nn.Sequential(nn.Embedding(len(index), 8), nn.Linear(8, len(index)))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
batches = [ids[order[start : start + 16]] for start in range(0, len(ids), 16)]
for epoch in range(3):
    random.shuffle(batches)
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch[:-1]), batch[1:]).backward()
        optimizer.step()
"""

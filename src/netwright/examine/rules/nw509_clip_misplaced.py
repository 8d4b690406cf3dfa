"""NW509: gradients are clipped at the wrong moment."""

from __future__ import annotations

import difflib
import linecache
import math
from collections.abc import Iterator

from netwright.examine.observation import Event, Observation, Place, Step
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW509",
    slug="clip-misplaced",
    level="error",
    by="step",
    title="gradients are clipped at a moment at which it has no effect",
    what="clip_grad_norm_ or clip_grad_value_ runs before the backward (there is nothing to clip), after the step (the step has "
    "used them as they were), or on gradients that a GradScaler has multiplied by its scale.",
    why="The program reads as if its steps were limited, and they are not. Under a GradScaler it is the other way round: "
    "gradients thousands of times too large are cut to the limit, and then divided by the scale, so that almost nothing is left.",
    fix="Clip between the backward and the step; with a GradScaler call scaler.unscale_(optimizer) right before it.",
    example="optimizer.zero_grad(); clip_grad_norm_(net.parameters(), 1.0); loss.backward(); optimizer.step()   # wrong\n"
    "optimizer.zero_grad(); loss.backward(); clip_grad_norm_(net.parameters(), 1.0); optimizer.step()   # right",
    limits="Sees PyTorch's own clipping functions, not a loop of clamp_ over .grad. Silent if any call for the same optimizer "
    "has an effect, if the limit is so high that the call only measures, and if the limit is multiplied by the scale.",
    explains=frozenset({"NW504"}),
)
_NO_LIMIT = 1e6  # clip_grad_norm_(parameters, inf) is how people measure the norm


def check(observation: Observation) -> Iterator[Evidence]:
    clips = [event for event in observation.of_kind("clip") if _limits(event) and event.detail["optimizers"]]
    for optimizer in sorted({uid for event in clips for uid in event.detail["optimizers"]}):
        mine = [event for event in clips if optimizer in event.detail["optimizers"]]
        steps = [step for step in observation.steps if step.optimizer == optimizer and step.held]
        if observation.optimizers[optimizer].cls == "LBFGS":
            continue
        yield from _without_effect(observation, mine, steps)
        yield from _scaled(observation, mine)


def _limits(event: Event) -> bool:
    limit = event.detail.get("limit")
    return limit is not None and math.isfinite(limit) and limit < _NO_LIMIT


def _without_effect(observation: Observation, clips: list[Event], steps: list[Step]) -> Iterator[Evidence]:
    if any(event.detail["fresh"] for event in clips):
        return
    idle = [event for event in clips if not event.detail["backwards"]]
    if not idle:
        return
    first = idle[0]
    before = not any(step.order < first.order for step in steps)
    if before:  # the step must have used gradients that came after the clipping
        steps = [
            step
            for step in steps
            if step.order > first.order
            and any(first.order < entry.order < step.order for entry in observation.backwards)
        ]
    if not steps:
        return
    step = steps[0]
    name, limit = first.detail["function"], first.detail["limit"]
    norm = math.sqrt(sum(size * size for size in step.gradients.values()))
    when = "before the backward" if before else "after the step"
    holds = name == "clip_grad_norm_"
    found = "there are none yet" if before else "the step has already used them"
    used = f", the step used gradients of norm {norm:.3g} unclipped" if holds and norm > limit else ""
    yield evidence(
        observation,
        first.place,
        seen={
            "clipped": when,
            "fresh_gradients": 0,
            "of": first.detail["given"],
            "norm_at_step": round(norm, 4),
        },
        expected={"clipped": "between the backward and the step", "fresh_gradients": first.detail["given"]}
        | ({"norm_at_step": f"at most {limit:g}"} if holds else {}),
        step=step.step,
        title=f"{name}({limit:g}) runs {when}: {found}{used}",
        diff=_moved(first.place, step.place),
        harm="measured" if used else "possible",
    )


def _scaled(observation: Observation, clips: list[Event]) -> Iterator[Evidence]:
    for event in clips:
        backward = next(
            (entry for entry in reversed(observation.backwards) if entry.order < event.order), None
        )
        scale = next(
            (
                entry
                for entry in reversed(observation.events)
                if entry.kind == "scale" and entry.order < event.order
            ),
            None,
        )
        if backward is None or scale is None or not event.detail["fresh"] or "scale" not in scale.detail:
            continue
        ends = [step.order for step in observation.steps if step.order < event.order]
        unscaled = any(scale.order < entry.order < event.order for entry in observation.of_kind("unscale"))
        stepped = any(entry.order > event.order for entry in observation.of_kind("scaler_step"))
        if unscaled or not stepped or (ends and ends[-1] > scale.order) or scale.order > backward.order:
            continue
        factor, limit = scale.detail["scale"], event.detail["limit"]
        on = scale.detail["enabled"]
        if on and (limit >= 0.1 * factor or not _untouched(event, backward.gradients)):
            continue
        if not on and (event.place is None or "unscale_" in "".join(linecache.getlines(event.place.file))):
            continue
        name = event.detail["function"]
        title = f"{name}({limit:g}) runs on gradients that the GradScaler has multiplied by {factor:g}"
        if on and name == "clip_grad_norm_":
            title += f": norm {event.detail['norm']:.3g}, really {event.detail['norm'] / factor:.3g}"
        yield evidence(
            observation,
            event.place,
            seen={"norm_when_clipped": event.detail["norm"], "scale": factor if on else "off in this run"},
            expected={"norm_when_clipped": event.detail["norm"] / factor if on else "unscaled", "scale": 1},
            step=event.step,
            title=title
            if on
            else f"{name}({limit:g}) runs before the GradScaler unscales (it is off in this run)",
            fix="Call scaler.unscale_(optimizer) between the backward and the clipping.",
            diff=_unscaling(event.place),
            level="" if on else "warning",
            harm="likely" if on else "possible",
        )
        return


def _untouched(event: Event, gradients: dict[str, float]) -> bool:
    """Returns whether the gradients are as the backward left them (nobody unscaled them by hand)."""
    uids = [str(uid) for uid in event.detail["parameters"]]
    if not uids or any(uid not in gradients for uid in uids):
        return len(uids) < event.detail["given"]
    norm = math.sqrt(sum(gradients[uid] ** 2 for uid in uids))
    return not math.isfinite(norm) or abs(norm - event.detail["norm"]) <= 1e-3 * norm


def _statement(place: Place | None) -> tuple[list[str], str] | None:
    """Returns the lines of a file and the line at a place, if that is a statement of its own on one line."""
    lines = linecache.getlines(place.file) if place is not None else []
    if place is None or not 0 < place.line <= len(lines):
        return None
    line = lines[place.line - 1]
    whole = line.count("(") == line.count(")") and not line.rstrip().endswith((":", "\\", ","))
    return (lines, line) if whole and ";" not in line else None


def _moved(clip: Place | None, step: Place | None) -> str:
    """Returns the diff that moves the clipping to right before the step."""
    old, target = _statement(clip), _statement(step)
    if old is None or target is None or clip is None or step is None or clip.file != step.file:
        return ""
    lines, line = old
    indent = len(line) - len(line.lstrip())
    if indent != len(target[1]) - len(target[1].lstrip()) or clip.line == step.line:
        return ""
    after = list(lines)
    del after[clip.line - 1]
    after.insert(step.line - 1 - (clip.line < step.line), line)
    return "".join(difflib.unified_diff(lines, after, f"a/{clip.file}", f"b/{clip.file}", n=1))


def _unscaling(clip: Place | None) -> str:
    old = _statement(clip)
    if old is None or clip is None:
        return ""
    lines, line = old
    names = [
        entry.split(".step(")[0].split()[-1] for entry in lines if ".step(" in entry and "scaler" in entry
    ]
    given = [
        entry.split(".step(")[1].split(")")[0] for entry in lines if ".step(" in entry and "scaler" in entry
    ]
    if len(set(names)) != 1 or len(set(given)) != 1 or not given[0].replace(".", "").isidentifier():
        return ""
    indent = line[: len(line) - len(line.lstrip())]
    after = [*lines[: clip.line - 1], f"{indent}{names[0]}.unscale_({given[0]})\n", *lines[clip.line - 1 :]]
    return "".join(difflib.unified_diff(lines, after, f"a/{clip.file}", f"b/{clip.file}", n=1))


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

torch.manual_seed(0)
tokens = torch.randint(0, 12, (64, 9))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 8)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 12)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0])


network = Tagger()
optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
for step in range(8):
    loss = F.cross_entropy(network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
{order}"""
_CLIP = "    clip_grad_norm_(network.parameters(), 0.1)\n"
bad = _PROGRAM.replace("{order}", _CLIP + "    loss.backward()\n    optimizer.step()\n")
good = _PROGRAM.replace("{order}", "    loss.backward()\n" + _CLIP + "    optimizer.step()\n")
near_miss = _PROGRAM.replace(
    "{order}",
    "    loss.backward()\n" + _CLIP + "    optimizer.step()\n"
    "    left = clip_grad_norm_(network.parameters(), float('inf'))  # to print it\n"
    "    clip_grad_norm_(network.parameters(), 0.1)\n",
)

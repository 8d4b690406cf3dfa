"""Says what is wrong with any PyTorch training program, with evidence, and without a trace in it.

    with netwright.examine() as findings:      # around a loop or a notebook cell; this module can be called
        my_own_training_loop()
    print(findings)

`netwright examine SCRIPT` goes through `run_script`. How it works, one file for each part:

    finding.py        (one floor up) Rule, Evidence, Finding: values
    observation.py    what is written down: lists of plain records, to JSON and back. Rules see nothing else
    observer.py       watches: patches a few entry points of torch, keeps the records, decides how closely to look
    trace.py          deep steps: a TorchFunctionMode writes an Op for every torch function, with its line
    measure.py        numbers out of tensors without a trace
    places.py         which line of the user's own code led here
    patches.py        replaces attributes and puts them back
    rules/            one file a rule; how to write one stands in rules/__init__.py
    judge.py          runs the rules as the moments come; merges causes and consequences; suppression
    examination.py    observer + judge = Session; the result, an Examination
    runner.py         runs a script or module as Python itself would, under a Session

**How closely.** Three steps deep (every torch function: name, operands and who made them, options, shapes, numbers, the
user's line, the layer), then sampled (forward hooks, gradients, updates, losses) to step 20 and one step in 50; in between
only a counter, the loss's value and a token in the graph. An optimizer that is made later brings two deep steps, a place
where an evaluation begins three deep looks.

**Without a trace.** No random number is drawn; gradients, flags and tensors are not touched; tensors and modules are held by
weak references and numbers only; there are no module backward hooks. Tokens lie in the `metadata` of graph nodes and die with
them. A failure in the watching is swallowed and reported ("not run: reason"). Every patch is put back at the end. Forked
children (workers of a data loader) drop the watching at once. Where PyTorch takes another path under a function mode (the fast
path of transformer layers in evaluation) the mode steps aside. Compiled code runs eagerly (`torch.compiler.set_stance`) while
watched closely: its numbers are then those of eager mode, which may differ from compiled ones in the last bits.

**Moments.** source, forward, backward, step, 2, 100, epoch, end: rules run when theirs comes, and errors can be printed then.

**Not before torch.** This module and all that `runner` imports leave torch alone until the program imports it, so that
environment variables that the program sets before its own `import torch` still count.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from netwright.examine.examination import Examination, Session, examine
from netwright.examine.observation import Observation
from netwright.examine.rules import find_rule, load_rules
from netwright.examine.runner import parse_stop, run_module, run_script

__all__ = [
    "Examination",
    "Observation",
    "Session",
    "examine",
    "find_rule",
    "load_rules",
    "parse_stop",
    "run_module",
    "run_script",
]


class _Callable(types.ModuleType):
    """`netwright.examine` is this package and also the context manager."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return examine(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

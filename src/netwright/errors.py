"""What can go wrong, as a tree.

NetwrightError            a message for people: what was expected, what came, where, what to do
├── UnknownNameError      a name that no registry or recipe knows (also a KeyError)
├── DataError             data that cannot be read or does not mean what it should
├── NetworkError          a network that does not fit the data
├── RecipeError           a recipe entry that cannot be
├── ServingError          a server that cannot be: a port in use, a package that is missing
├── RunFolderError        a folder that is not a run, or cannot be written
├── CheckpointError       a checkpoint that is damaged or belongs to another network
├── ExportError           a network that a format cannot hold
├── ExplanationError      a prediction that cannot be explained
├── ArtefactError         an exported file that is damaged, changed or not proven
├── TrainingFailed        a run that began and could not go on (exit code 1)
│   └── WritingFailed     because the disk is full, or a file cannot be written
└── FaultFound            a run that was not begun, because the examiner proved a fault (exit code 1)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class NetwrightError(ValueError):
    """A fault that the person at the keyboard can mend; its text is one to four lines."""

    exit_code = 2

    def __str__(self) -> str:
        # KeyError, which UnknownNameError also is, would print the message in quotes.
        return str(self.args[0]) if self.args else ""


class UnknownNameError(NetwrightError, KeyError):
    """A name that is not known; the message offers the near ones."""


class DataError(NetwrightError):
    """Data that cannot be read, or does not mean what it should."""


class NetworkError(NetwrightError):
    """A network that cannot be built or does not fit the data."""


class RecipeError(NetwrightError):
    """A recipe entry that cannot be."""


class ServingError(NetwrightError):
    """A server that cannot be."""


class RunFolderError(NetwrightError):
    """A folder that is not a run, or cannot be written."""


class CheckpointError(NetwrightError):
    """A checkpoint that is damaged or belongs to another network."""


class ExportError(NetwrightError):
    """A network that a format cannot hold, or a format that is not installed."""


class ExplanationError(NetwrightError):
    """A prediction that cannot be explained, or a package for it that is missing."""


class ArtefactError(NetwrightError):
    """An exported file that is damaged, changed since it was written, or not proven."""


class TrainingFailed(NetwrightError):
    """A run that began and could not go on."""

    exit_code = 1


class WritingFailed(TrainingFailed):
    """A run that could not write its files: another one in the same place cannot either."""


class FaultFound(NetwrightError):
    """A run that was not begun, because the examiner proved a fault in it.

    `findings` are the examiner's, as in its JSON.
    """

    exit_code = 1

    def __init__(self, message: str, *, findings: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.findings = list(findings)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a name that is not known, offering the near ones.

    >>> str(unknown_name("optimizer", "addam", ["adam", "sgd"]))
    "unknown optimizer 'addam': did you mean 'adam'? Known: adam, sgd"
    """
    names = sorted(str(entry) for entry in known)
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), names, n=3, cutoff=0.5)
    question = f": did you mean {' or '.join(repr(entry) for entry in near)}?" if near else "."
    return UnknownNameError(f"unknown {kind} {name!r}{question} Known: {', '.join(names) or 'none'}")

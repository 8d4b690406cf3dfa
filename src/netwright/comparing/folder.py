"""A comparison's folder: what was planned, the trials in runs/, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netwright.comparing.plan import Plan
from netwright.errors import RunFolderError, WritingFailed
from netwright.training.checkpoints import write_bytes

PLAN, COMPARISON, PAGE = "plan.json", "comparison.json", "comparison.html"


def folder_for(out: Path | None, content: Mapping[str, Any]) -> Path:
    """Returns the folder of a comparison with this plan: `out`, or else comparisons/<data>-<n>, the last one if it is not finished.

    Raises RunFolderError for a folder that holds something else.
    """
    if out is not None:
        strange = out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / PLAN).exists()))
        if strange:
            raise RunFolderError(f"{out} is there already and holds no comparison: give another --out")
        return out
    stem, number = Path(str(content["recipe"]["data"]["source"])).stem, 1
    while (folder := Path("comparisons") / f"{stem}-{number}").exists():
        number += 1
    last = folder.with_name(f"{stem}-{number - 1}")
    same = (last / PLAN).exists() and _read(last / PLAN) == json.loads(json.dumps(content))
    return last if same and not (last / COMPARISON).exists() else folder


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def content_of(plan: Plan, *, search: int | None) -> dict[str, Any]:
    """Returns a plan as plan.json has it."""
    return {
        "version": 1,
        "recipe": plan.base.model_dump(mode="json"),
        "variants": {one.name: dict(one.entries) for one in plan.variants},
        "sweeps": [asdict(sweep) for sweep in plan.sweeps],
        "seeds": list(plan.seeds),
        "search": search,
    }


def begin_folder(folder: Path, content: Mapping[str, Any]) -> None:
    """Makes the folder of a comparison, or enters it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make the folder {folder}: {error.strerror}") from None
    (folder / COMPARISON).unlink(missing_ok=True)
    write_bytes(folder / PLAN, (json.dumps(content, indent=1) + "\n").encode())


def save(folder: Path, result: Mapping[str, Any]) -> None:
    """Writes comparison.json, the last file of a comparison."""
    try:
        write_bytes(folder / COMPARISON, (json.dumps(result, indent=1) + "\n").encode())
    except WritingFailed as error:
        raise WritingFailed(
            f"{error.args[0].splitlines()[0]}\nMake room, then give the same command again."
        ) from error

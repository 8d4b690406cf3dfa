"""A program of torch.export in one file, for PyTorch without the network's class: any number of examples, the card inside.

A .pt2 is a zip archive whose tensors lie as bytes; parts of it may be pickles. They are looked at before PyTorch reads them: only
what `weights_only` takes is let through, so that opening one executes nothing.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from netwright.errors import ArtefactError
from netwright.shipping.formats import Forward, Work

KEY = "netwright.json"


def write(work: Work, path: Path) -> list[str]:
    """Writes the program with the card beside it in the archive."""
    # Into memory first: where the disk is full PyTorch's own writer ends with a stack of C++.
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        card = json.dumps(work.card.to_dict(), ensure_ascii=False)
        torch.export.save(work.graph.program, written, extra_files={KEY: card})
    path.write_bytes(written.getvalue())
    return []


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the program, and the card in it."""
    check_harmless(content, path)
    kept = {KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(io.BytesIO(content), extra_files=kept)
            module = program.module()
    except Exception as error:  # of many kinds
        told = " ".join(str(error).split())[:200]
        raise ArtefactError(
            f"{path}: torch.export.load cannot read it with torch {torch.__version__}: {told}"
        ) from None
    if not kept[KEY]:
        raise ArtefactError(f"{path}: a .pt2 without netwright's card: was it exported by netwright?")

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return tuple(module(raw))

    return forward, json.loads(kept[KEY])


def check_harmless(content: bytes, path: Path) -> None:
    """Raises ArtefactError for an archive whose reading would unpickle more than tensors, or that is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            # torch.export.save packs nothing: parts that are packed, or larger than the file, would fill the memory.
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
            if packed or sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ValueError("its parts are packed")
            pickles = [name for name in names if "sample_inputs" in name]
            configs = [name for name in names if name.endswith("_config.json")]
            asked = {name: json.loads(archive.read(name)) for name in configs}
            for name in pickles:
                torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise ArtefactError(f"{path}: no .pt2 that can be opened without executing it ({told})") from None
    if not any(name.endswith("archive_format") for name in names):
        raise ArtefactError(f"{path}: expected an archive of torch.export, came another zip file")
    wild = [name for name, entries in asked.items() if _pickled(entries)]
    if wild:
        raise ArtefactError(f"{path}: {wild[0]} asks for pickled objects, which are never loaded")


def _pickled(entries: Any) -> bool:
    if isinstance(entries, dict):
        return entries.get("use_pickle") is True or any(map(_pickled, entries.values()))
    return isinstance(entries, list) and any(map(_pickled, entries))

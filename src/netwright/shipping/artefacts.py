"""Exported files: written with a sidecar that says what they are, and opened again only as what was written and proven.

Beside `model.onnx` lies `model.onnx.json`: {version, format, artefact, sha256, bytes, beside, inputs, outputs, notes, made_with, card,
certificate, seal}. `seal` is the SHA-256 of all the rest, in JSON with sorted keys: it finds what was changed by accident or by
hand. It is no signature: who can write both files can write another artefact.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from netwright.data import Preparation
from netwright.errors import ArtefactError, DataError, ExportError
from netwright.shipping.answers import Answering
from netwright.shipping.card import Card
from netwright.shipping.formats import Format, Forward, Work, formats
from netwright.shipping.inputs import Port, input_of
from netwright.shipping.sidecar import check_form

VERSION = 1
NEEDED = ("format", "artefact", "sha256", "bytes", "inputs", "outputs", "card", "certificate", "seal")
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "litert-torch", "ai-edge-litert", "executorch")


def sidecar_of(path: Path) -> Path:
    """Returns where an artefact's sidecar lies.

    >>> sidecar_of(Path("model.onnx")).name
    'model.onnx.json'
    """
    return path.with_name(path.name + ".json")


def write_artefact(name: str, work: Work, path: Path) -> dict[str, Any]:
    """Writes the artefact of a format and its sidecar, still without a certificate, and returns the sidecar.

    Raises ExportError for a network that the format cannot hold, or a place that cannot be written to; nothing is left of it then.
    """
    writer = formats[name].load()
    port, outputs = _ports(formats[name], work)
    # In a folder beside it: what fails half-way leaves nothing, and what is there is replaced whole.
    with _writing(path), TemporaryDirectory(prefix=".partly-", dir=path.parent) as folder:
        notes = writer.write(work, Path(folder, path.name))
        files = sorted(Path(folder).iterdir())
        beside = {file.name: _digest(file.read_bytes()) for file in files if file.name != path.name}
        for file in files:
            os.replace(file, path.with_name(file.name))
    content = path.read_bytes()
    sidecar = {
        "version": VERSION,
        "format": name,
        "artefact": path.name,
        "sha256": _digest(content),
        "bytes": len(content),
        "beside": beside,
        "inputs": [port.to_dict()],
        "outputs": [output.to_dict() for output in outputs],
        "notes": notes,
        "made_with": {"python": platform.python_version(), **_versions()},
        "card": work.card.to_dict(),
        "certificate": None,
    }
    write_sidecar(path, sidecar)
    return sidecar


def write_sidecar(path: Path, sidecar: Mapping[str, Any]) -> None:
    """Writes an artefact's sidecar with its seal; raises ExportError where that is not possible."""
    entries = {key: value for key, value in sidecar.items() if key != "seal"}
    text = json.dumps({**entries, "seal": _seal(entries)}, ensure_ascii=False, indent=1)
    partly = sidecar_of(path).with_name(f".partly-{os.getpid()}-{path.name}.json")
    with _writing(path):
        try:
            partly.write_text(text + "\n", encoding="utf-8")
            os.replace(partly, sidecar_of(path))
        finally:
            partly.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Makes an ExportError of what the disk refuses: a folder that may not be written to, or one that is full."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from None


def open_artefact(path: str | Path, *, unproven: bool = False) -> Answering:
    """Returns what answers raw examples by an exported file, in its own runtime.

    The file's checksum, the sidecar's seal, the card inside the file and the certificate must agree; `unproven` takes one whose
    certificate failed or was never made. Nothing of the artefact is unpickled. Those of safetensors with a person's own class
    execute the file beside them, and aoti's are native code: open these only from people whose programs you would run.

    Raises:
        ArtefactError: the file or its sidecar is missing, damaged, changed or not proven. ExportError: its runtime is not installed.
    """
    path = Path(path)
    sidecar = read_sidecar(path)
    content = _whole(path, sidecar)
    if not unproven:
        _check_proven(path, sidecar)
    try:
        card = Card.from_dict(sidecar["card"])
        preparation = card.prepared_by
        port = _port_of(sidecar, preparation)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:  # of what the preparation is made of
        raise ArtefactError(f"{sidecar_of(path)}: its card cannot be read back: {error}") from None
    forward, inside = formats[sidecar["format"]].load().open(content, path, sidecar)
    if inside is not None and inside != sidecar["card"]:
        raise ArtefactError(
            f"{path}: the card inside it is not the one in {sidecar_of(path).name}: the two files do not belong together"
        )
    return Answering(card, preparation, fed(forward, port))


def is_artefact(path: str | Path) -> bool:
    """Says whether a path is a file with a sidecar, as `netwright export` writes them."""
    return Path(path).is_file() and sidecar_of(Path(path)).is_file()


def read_sidecar(path: Path) -> dict[str, Any]:
    """Returns what the sidecar of an artefact says, its seal checked; raises ArtefactError."""
    file = sidecar_of(path)
    if not path.is_file():
        raise ArtefactError(f"{path}: no such file")
    if not file.is_file():
        raise ArtefactError(
            f"{path}: expected {file.name} beside it, which says what it is.\n"
            "Copy both files together, or export the run again: netwright export RUN --to onnx"
        )
    try:
        sidecar = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{file}: cannot be read ({error})") from None
    if not isinstance(sidecar, dict) or sidecar.get("version") != VERSION:
        found = sidecar.get("version") if isinstance(sidecar, dict) else type(sidecar).__name__
        raise ArtefactError(f"{file}: expected an artefact's sidecar of version {VERSION}, came {found!r}")
    _check_known(file, sidecar)
    if sidecar.pop("seal") != _seal(sidecar):
        raise ArtefactError(
            f"{file}: it was changed since the export (its seal does not hold): export the run again"
        )
    return sidecar


def _check_known(file: Path, sidecar: Mapping[str, Any]) -> None:
    missing = [key for key in NEEDED if key not in sidecar]
    if missing:
        raise ArtefactError(f"{file}: no sidecar of an artefact: without {', '.join(missing)}")
    try:
        check_form(sidecar)
    except DataError as error:
        raise ArtefactError(f"{file}: no sidecar of an artefact: {error}") from None
    if sidecar["format"] not in formats:
        raise ArtefactError(f"{file}: no sidecar of an artefact: format {sidecar['format']!r} is not known")


def fed(forward: Forward, port: Port) -> Forward:
    """Returns a function of any number of raw examples from one that wants the shape and type of `port`."""
    size = port.shape[0]

    def chunk(raw: Tensor) -> tuple[Tensor, ...]:
        assert size is not None
        missing = size - len(raw)
        whole = torch.cat([raw, raw[-1:].expand(missing, *raw.shape[1:])]) if missing else raw
        return tuple(found[: len(raw)] for found in forward(whole))

    def fit(raw: Tensor) -> tuple[Tensor, ...]:
        raw = port.fitted(raw)
        if size is None:
            return forward(raw)
        return tuple(torch.cat(parts) for parts in zip(*map(chunk, raw.split(size)), strict=True))

    return fit


def _port_of(sidecar: Mapping[str, Any], preparation: Preparation) -> Port:
    """Returns the input of an artefact; raises DataError where it is not what the preparation reads."""
    port = Port.from_dict(sidecar["inputs"][0])
    own = input_of(preparation, batch=port.shape[0], any_length=port.shape[1:] == (None,))
    if (port.shape, port.dtype) not in ((own.shape, own.dtype), (own.shape, own.narrowed().dtype)):
        raise DataError(f"expected an input {own.dtype} {own.shape}, came {port.dtype} {port.shape}")
    return port


def _ports(chosen: Format, work: Work) -> tuple[Port, list[Port]]:
    port, outputs = (work.graph.input, work.graph.outputs) if chosen.traced else work.plain_ports()
    return (port.narrowed(), [output.narrowed() for output in outputs]) if chosen.narrow else (port, outputs)


def _whole(path: Path, sidecar: Mapping[str, Any]) -> bytes:
    """Returns the content of an artefact whose checksums hold; raises ArtefactError."""
    content = path.read_bytes()
    if len(content) != sidecar["bytes"]:
        raise ArtefactError(
            f"{path}: expected {sidecar['bytes']:,} bytes, came {len(content):,}: the file is cut off or another one"
        )
    if _digest(content) != sidecar["sha256"]:
        raise ArtefactError(
            f"{path}: its checksum is not the one in {sidecar_of(path).name}: the file was changed"
        )
    for name, digest in sidecar.get("beside", {}).items():
        file = path.with_name(Path(name).name)
        if not file.is_file():
            raise ArtefactError(f"{path}: expected {name} beside it, which belongs to it")
        if _digest(file.read_bytes()) != digest:
            raise ArtefactError(
                f"{file}: its checksum is not the one in {sidecar_of(path).name}: the file was changed"
            )
    return content


def _check_proven(path: Path, sidecar: Mapping[str, Any]) -> None:
    certificate = sidecar["certificate"]
    if certificate is None:
        raise ArtefactError(f"{path}: it was never proven, the export did not end: export the run again")
    if not certificate.get("passed"):
        raise ArtefactError(
            f"{path}: its certificate failed ({'; '.join(certificate.get('why', []))}): do not use it"
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(entries: Mapping[str, Any]) -> str:
    text = json.dumps(entries, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return _digest(text.encode())


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found

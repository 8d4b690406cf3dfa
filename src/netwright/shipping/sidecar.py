"""The form of an artefact's sidecar: whoever opens one relies on nothing in it before it has this form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwright.errors import DataError

# More examples at a time than any artefact is written for; and more sides than any tensor of ours has.
BATCH_AT_MOST, SIDES_AT_MOST = 1 << 16, 8
Side = Annotated[int, Field(ge=1, le=1 << 31)]


class _Port(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str
    dtype: Literal["uint8", "int32", "int64", "float32", "float64"]
    shape: list[Side | None] = Field(min_length=1, max_length=SIDES_AT_MOST)
    meaning: str


class _Certificate(BaseModel):
    model_config = ConfigDict(strict=True)
    passed: bool
    why: list[str] = []


class _Sidecar(BaseModel):
    model_config = ConfigDict(strict=True)
    format: str
    artefact: str
    sha256: str
    bytes: Annotated[int, Field(ge=0)]
    # Names of files, not paths.
    beside: dict[Annotated[str, Field(pattern=r"^[^/\\\x00]*[^/\\\x00.][^/\\\x00]*$")], str] = {}
    inputs: list[_Port] = Field(min_length=1, max_length=1)
    outputs: list[_Port] = Field(min_length=1, max_length=2)
    card: dict[str, Any]
    certificate: _Certificate | None
    seal: str


def check_form(entries: Mapping[str, Any]) -> None:
    """Raises DataError, which names the first wrong entry, for what has not the form of a sidecar.

    >>> check_form({"format": ["onnx"]})
    Traceback (most recent call last):
        ...
    netwright.errors.DataError: format: Input should be a valid string
    """
    try:
        found = _Sidecar.model_validate(dict(entries))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    batch = found.inputs[0].shape[0]
    if batch is not None and batch > BATCH_AT_MOST:
        raise DataError(
            f"inputs.0.shape: expected at most {BATCH_AT_MOST:,} examples at a time, came {batch:,}"
        )

"""JSON from strangers: what the format has and nothing else, of a bounded depth and number of values."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np

from netwright.shipping.server.limits import Limits, Refusal, too_large

# Only a number with such an exponent, or with so many digits, can be more than a float holds.
_LARGE = re.compile(rb"[eE]\+?\d{3}|\d{300}")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


def read_json(body: bytes, limits: Limits) -> Any:
    """Returns the value of a JSON text in UTF-8.

    Raises Refusal: no JSON, NaN and the infinite, numbers that no float holds, a key twice, too many or too deep lists.

    >>> read_json(b'{"inputs": [[1, 2.5]]}', Limits())
    {'inputs': [[1, 2.5]]}
    """
    _check_shape(body, limits)
    numbers: dict[str, Any] = {}
    if _LARGE.search(body):
        numbers = {"parse_float": _float, "parse_int": _integer}
    try:
        return json.loads(
            body.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_object, **numbers
        )
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"the body is not UTF-8: byte 0x{body[error.start]:02x} at {error.start:,}"
        ) from None
    except json.JSONDecodeError as error:
        raise Refusal(
            400, f"the body is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    except (RecursionError, ValueError) as error:
        raise Refusal(400, f"the body is not JSON that can be read: {str(error)[:120]}") from None


def _check_shape(body: bytes, limits: Limits) -> None:
    count = body.count(b"[") + body.count(b"{")
    if count <= limits.depth:
        return
    if count > limits.brackets:
        raise too_large(f"the body holds {count:,} lists and objects: expected at most {limits.brackets:,}")
    if _depth(body) > limits.depth and _depth(_STRINGS.sub(b"", body)) > limits.depth:
        raise Refusal(400, f"the body is nested more than {limits.depth} deep")


def _depth(body: bytes) -> int:
    signs = np.frombuffer(body, np.uint8)
    # "[" and "{" are 91 and 123, "]" and "}" 93 and 125, and no part of another character in UTF-8.
    steps = ((signs == 91) | (signs == 123)).astype(np.int8) - ((signs == 93) | (signs == 125)).astype(
        np.int8
    )
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Refusal(400, "the body is not JSON that can be read: an object has a key twice")
    return found


def _constant(name: str) -> Any:
    raise Refusal(
        400, f"the body is not JSON: {name} is no number of JSON (null is a gap, where gaps may be)"
    )


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refusal(422, f"the body holds a number that no float holds: {text[:20]}")
    return value


def _integer(text: str) -> int:
    if len(text) > 300:
        raise Refusal(422, f"the body holds a number of {len(text):,} digits")
    return int(text)

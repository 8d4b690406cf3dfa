"""What GET /card says of a network, and the OpenAPI description of its server."""

from __future__ import annotations

from typing import Any

from netwright.shipping.card import Card
from netwright.shipping.server.intake import Intake, Rows
from netwright.shipping.server.limits import Limits

Facts = dict[str, Any]


def facts_of(card: Card, intake: Intake, limits: Limits) -> Facts:
    """Returns what a client may know: no recipe, which names files of the machine on which the network was trained."""
    preparation = intake.preparation
    facts: Facts = {
        "title": card.title,
        "task": card.task,
        "classes": None if card.classes is None else list(card.classes),
        "input": {
            "kind": card.preparation["kind"],
            "shape": list(intake.shape),
            "expected": intake.expected(),
        },
        "output": _output(card, preparation),
        "flags_unlike_training": card.strange_above is not None,
        "test": _scores(card.test),
        "limits": {"body_bytes": limits.body_bytes, "inputs": limits.inputs},
        "weights_sha256": card.weights_sha256,
        "netwright": card.netwright,
    }
    if isinstance(intake, Rows):
        facts["input"]["columns"] = [
            {
                "name": column.name,
                "kind": column.kind,
                **({"categories": list(column.categories)} if column.categories else {}),
            }
            for column in intake.used()
        ]
    return facts


def _output(card: Card, preparation: Any) -> str:
    if card.classes is not None:
        return f"probabilities of {len(card.classes)} classes, and the class that is taken"
    if getattr(preparation, "horizon", None):
        names = ", ".join(preparation.targets[:10])
        return f"the next {preparation.horizon:,} rows of {names}, in their unit"
    target = getattr(preparation, "target", None)
    return f"{'a number' if target is None else target.name}, in the unit of the training data"


def _scores(test: Any) -> Facts | None:
    """Returns the scores of the test part that are a number or an interval."""
    if not test:
        return None
    return {
        name: value for name, value in test.items() if isinstance(value, int | float) or name == "interval"
    }


def predict_operation(card: Card, intake: Intake, limits: Limits) -> Facts:
    """Returns the OpenAPI 3.1 description of POST /predict."""
    inputs = {
        "type": "array",
        "minItems": 1,
        "maxItems": limits.inputs,
        "items": intake.schema(),
        "description": f"Each: {intake.expected()}.",
    }
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": inputs},
        "additionalProperties": False,
    }
    content: Facts = {"application/json": {"schema": body, "example": {"inputs": [intake.example()]}}}
    for media in _files(intake):
        content[media] = {"schema": {"type": "string", "format": "binary"}}
    if len(content) > 1:
        files = {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
        form = {"type": "object", "required": ["files"], "properties": {"files": files}}
        content["multipart/form-data"] = {"schema": form}
    answer = {
        "description": "One record for each input.",
        "content": {"application/json": {"schema": _answer(card)}},
    }
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, **{status: _refused(about) for status, about in REFUSALS.items()}},
    }


REFUSALS = {
    "400": "The body is no JSON, or no form.",
    "408": "The body did not come in time.",
    "413": "More than the server takes.",
    "415": "A type of body that this network has no use for.",
    "422": "An input that cannot be read: the sentence names which.",
    "503": "Too much to do: Retry-After says when to try again.",
}


def _files(intake: Intake) -> list[str]:
    named = {"image/": ["image/png", "image/jpeg"], "audio/": ["audio/wav", "audio/flac"]}
    found = [media for name in intake.media for media in named.get(name, [name])]
    return [media for media in found if intake.takes(media)]


def refusal_schema() -> Facts:
    """Returns the JSON Schema of what comes with every status from 400 on."""
    return {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}


def _refused(about: str) -> Facts:
    return {"description": about, "content": {"application/json": {"schema": refusal_schema()}}}


def _answer(card: Card) -> Facts:
    record: Facts = {
        "type": "object",
        "required": ["input", "label", "unlike_training"],
        "properties": {
            "input": {"type": "string"},
            "label": {"type": ["string", "null"]},
            "unlike_training": {"type": ["boolean", "null"]},
            "remarks": {"type": "array", "items": {"type": "string"}},
        },
    }
    if card.classes is not None:
        share = {"type": "number", "minimum": 0, "maximum": 1.000001}
        record["required"].append("probabilities")
        record["properties"]["probabilities"] = {"type": "object", "additionalProperties": share}
    else:
        record["required"].append("value")
        record["properties"]["value"] = {"type": ["number", "array"]}
    predictions = {"type": "array", "items": record}
    return {"type": "object", "required": ["predictions"], "properties": {"predictions": predictions}}

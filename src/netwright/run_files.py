"""The names of the files in a run's folder (CONTRACT.md); no PyTorch is imported for them."""

from __future__ import annotations

RECIPE, RESULT, MEANING = "recipe.yaml", "result.json", "preparation.json"
WEIGHTS, METRICS, REPORT = "model.safetensors", "metrics.jsonl", "report.html"
ENVIRONMENT, FINDINGS, CHECKPOINTS = "environment.json", "findings.json", "checkpoints"
SPLIT = "split.npz"
GUARD = "guard.safetensors"
# The weights that a network begins from, until it is trained: a run goes on without the source of its transfer.
PRETRAINED = "pretrained.safetensors"
# Written into a recipe in place of a name, where the network or the data was an object in memory.
FROM_PYTHON = "(a Python object)"

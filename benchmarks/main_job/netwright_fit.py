"""`netwright fit` as people call it, everything on: validation, log, checkpoints, best weights, bar, examiner."""

import json
import resource
import sys
import tempfile
from pathlib import Path

from netwright.fitting import carry_out
from netwright.recipe import Recipe

recipe = Recipe.build(
    {
        "data.source": "mnist",
        "network.hidden": [512, 512],
        "optimizer.name": "sgd",
        "optimizer.lr": 0.01,
        "train.epochs": int(sys.argv[1]),
    }
)
with tempfile.TemporaryDirectory() as folder:
    run = carry_out(recipe, out=Path(folder) / "run")
    epochs = [record for record in run.history if "train_loss" in record]
    # The kernel's own mark of this process; torch and the report are in it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # Between two epochs lie validation, checkpoint and log: the run's own clock counts them all.
    seconds = [run.result["seconds"] / len(epochs)] * len(epochs)
    print(json.dumps({"seconds": seconds, "accuracy": epochs[-1]["validation_accuracy"], "peak_mb": peak}))

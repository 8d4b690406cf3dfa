"""`netwright fit TABLE --target COLUMN` beside scikit-learn's linear model and gradient boosting, on the same split.

    NETWRIGHT_DATA=... python benchmarks/data/tables.py                         all tables, three seeds, on the test part
    NETWRIGHT_DATA=... python benchmarks/data/tables.py adult --part validation --set table.scaling=quantile

scikit-learn learns from the training and the validation part, with its defaults: logistic or ridge regression over imputed, scaled and
one-hot columns, and histogram gradient boosting over numbers and categories as they are. `--part validation` is for trials: then it learns
from the training part alone, and nothing looks at the test part.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

DATA = Path(os.environ["NETWRIGHT_DATA"])
# Columns that tell the target: ai4i's kinds of failure, titanic's copy of "survived" is not in the raw file.
TABLES = {
    "adult": ("adult", "column15", {}),
    "ai4i2020": (
        "ai4i2020/ai4i2020.csv",
        "Machine failure",
        {"table.kinds": dict.fromkeys(("TWF", "HDF", "PWF", "OSF", "RNF"), "skip")},
    ),
    "titanic": ("titanic/titanic_raw.csv", "survived", {}),
    "california-housing": ("california-housing/housing.csv", "median_house_value", {}),
}


def place_of(name: str, folder: Path) -> Path:
    """Returns the table; adult's two files become train.csv and test.csv in `folder`."""
    path = DATA / TABLES[name][0]
    if name != "adult":
        return path
    for part, file in (("train", "adult.data"), ("test", "adult.test")):
        rows = [[cell.strip().rstrip(".") for cell in row] for row in csv.reader((path / file).open()) if row]
        with (folder / f"{part}.csv").open("w", newline="") as out:
            csv.writer(out).writerows(rows)
    return folder


def peers(data, part: str, seed: int) -> dict[str, dict[str, float]]:
    """Returns the scores of scikit-learn's models on a part of the same split."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    learn = [data.train] if part == "validation" else [data.train, data.validation]
    x = np.concatenate([one.inputs.numpy() for one in learn])
    y = np.concatenate([one.targets.numpy() for one in learn])
    held = getattr(data, part)
    numeric = data.preparation.numeric
    numbers, words = list(range(numeric)), list(range(numeric, x.shape[1]))
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
        ]
    )
    classes = data.classes is not None
    linear = LogisticRegression(max_iter=1000) if classes else Ridge()
    boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    # Its limit is 255 categories a column; ours have fewer.
    models = {
        "linear": make_pipeline(prepare, linear),
        "boosting": boosting(categorical_features=words, random_state=seed),
    }
    found = {}
    for title, model in models.items():
        began = time.perf_counter()
        model.fit(x, y)
        seconds = time.perf_counter() - began
        outputs = model.predict_proba(held.inputs.numpy()) if classes else model.predict(held.inputs.numpy())
        found[title] = {**scores(data, outputs, held.targets.numpy()), "seconds": seconds}
    return found


def scores(data, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Returns accuracy, ROC AUC and average precision of the rarer of two classes, or RMSE and R2 in the target's unit."""
    import torch
    from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

    if data.classes is None:
        values, true = (
            data.preparation.in_units(torch.as_tensor(a, dtype=torch.float32)).numpy()
            for a in (outputs, targets)
        )
        return {"rmse": float(np.sqrt(np.mean((values - true) ** 2))), "r2": float(r2_score(true, values))}
    rare = int(np.argmin(data.class_counts))
    return {
        "accuracy": float((outputs.argmax(1) == targets).mean()),
        "roc_auc": float(roc_auc_score(targets == rare, outputs[:, rare])),
        "average_precision": float(average_precision_score(targets == rare, outputs[:, rare])),
    }


def ours(path: Path, name: str, settings: dict, part: str, seed: int, folder: Path):
    """Trains with `netwright.fit`; returns the data and the scores on a part."""
    import torch

    import netwright as nw
    from netwright.run import score

    entries = {"data.target": TABLES[name][1], **TABLES[name][2], **settings}
    began = time.perf_counter()
    run = nw.fit(data=str(path), recipe=entries, seed=seed, out=folder / f"{name}-{seed}", quiet=True)
    whole = time.perf_counter() - began
    held = getattr(run.data, part)
    _, outputs, _ = score(run.network, held, run.loss(), classes=run.classes)
    if run.classes is None:
        outputs = run.preparation.to_learn(torch.as_tensor(outputs))
    found = scores(run.data, np.asarray(outputs), held.targets.numpy())
    return run, {**found, "seconds": run.result["seconds"], "whole": whole, "epochs": run.result["epochs"]}


def spread(numbers: list[float]) -> str:
    form = ".4f" if abs(statistics.fmean(numbers)) < 10 else ".0f"
    return f"{statistics.fmean(numbers):{form}} ({min(numbers):{form}} to {max(numbers):{form}})"


def main() -> None:
    from netwright.recipe import parse_setting

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=list(TABLES), metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=["test", "validation"], default="test")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an entry of the recipe"
    )
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    settings = dict(parse_setting(entry) for entry in options.set)
    for name in options.tables:
        found: dict[str, list[dict[str, float]]] = {}
        with tempfile.TemporaryDirectory() as folder:
            path = place_of(name, Path(folder))
            for seed in range(options.seeds):
                run, result = ours(path, name, settings, options.part, seed, Path(folder))
                found.setdefault(f"netwright {run.recipe.network.name}", []).append(result)
                if not options.no_peers:
                    for title, one in peers(run.data, options.part, seed).items():
                        found.setdefault(f"scikit-learn {title}", []).append(one)
        names = [key for key in next(iter(found.values()))[0] if key not in ("whole", "epochs")]
        print(f"\n| {name}, {options.part} | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
        for title, results in found.items():
            print(
                f"| {title} | {' | '.join(spread([one[key] for one in results]) for key in names)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

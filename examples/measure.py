"""Carries out the recipes in this folder in full over several seeds and prints a Markdown table of what came out."""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent


def carry_out(recipe, seed, more):
    """Returns what `netwright fit --json` prints, from a process of its own.

    Without the examiner, which changes no weight: it would stop the faulty program, and cost the others time.
    """
    fit = [sys.executable, "-m", "netwright", "fit", str(recipe), "--seed", str(seed), *more]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--json", "--quiet", "--no-examine", "--out", f"{folder}/run"]
        done = subprocess.run([*fit, *options], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def row(name, results):
    accuracies = [result["test"]["accuracy"] for result in results]
    return (
        f"| {name} | {results[0]['parameters']:,} | {results[0]['epochs']} | {statistics.mean(accuracies):.2%} "
        f"| {min(accuracies):.2%}..{max(accuracies):.2%} "
        f"| {min(result['seconds'] for result in results):.0f} |"
    )


def never_recognised(name, seeds, results):
    """Yields a sentence for each run that recognises no example of some class."""
    for seed, result in zip(seeds, results):
        missed = [scores["class"] for scores in result["test"]["per_class"] if scores["recall"] == 0]
        if missed:
            yield f"- {name}, seed {seed}: no example recognised of {', '.join(missed)}."


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="recipes without .yaml (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", help="use only so many examples of each part")
    parser.add_argument("--epochs")
    args = parser.parse_args()
    more = [
        part
        for name in ("limit", "epochs")
        if (value := getattr(args, name))
        for part in (f"--{name}", value)
    ]
    names = args.names or sorted(path.stem for path in HERE.glob("*.yaml"))

    rows, sentences = [], []
    for name in names:
        results = []
        for seed in range(args.seeds):
            results.append(carry_out(HERE / f"{name}.yaml", seed, more))
            accuracy, seconds = results[-1]["test"]["accuracy"], results[-1]["seconds"]
            print(f"{name}, seed {seed}: {accuracy:.2%} in {seconds:.0f} s", file=sys.stderr)
        rows.append(row(name, results))
        sentences += never_recognised(name, range(args.seeds), results)

    print("| recipe | parameters | epochs | test accuracy, mean | min..max | seconds |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    machine = f"CPU with {os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'unset')}"
    print(f"\n{datetime.date.today()}, torch {torch.__version__}, {machine}.")
    print(f"Seeds 0 to {args.seeds - 1}; seconds are those of training, of the fastest seed.")
    if sentences:
        print("\n" + "\n".join(sentences))


if __name__ == "__main__":
    main()

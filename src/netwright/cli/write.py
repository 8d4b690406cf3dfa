"""`netwright write RUN`: what a language model writes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, RunFolder, print_json, say


def register(app: typer.Typer) -> None:
    app.command("write")(write)


def write(
    run: RunFolder,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What stands before.")] = "",
    length: Annotated[int, typer.Option(metavar="N", help="Tokens to write.")] = 500,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", help="Below 1 more likely tokens, above 1 more varied ones; 0: the likeliest."
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option("--top-k", metavar="K", help="Of the K most probable tokens only.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", metavar="P", help="Of the most probable tokens that together have probability P."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides what is drawn.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write with a language model: a run that was fitted on one file of text.

    For example: netwright write runs/corpus-gpt-1 --prompt "ROMEO:" --temperature 0.8 --top-k 20
    """
    from netwright.run import Run

    opened = Run(run)
    pieces = opened.write(prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    tokenizer = getattr(opened.preparation, "tokenizer", None)
    ids = tokenizer.encode([prompt])[0].tolist() if tokenizer is not None else []
    if 1 in ids:
        say(f"{ids.count(1):,} of {len(ids):,} tokens of the prompt are not in the vocabulary")
    if as_json:
        print_json({"run": run, "prompt": prompt, "text": "".join(pieces)})
        return
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()

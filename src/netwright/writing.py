"""What a language model writes: one token after the other, drawn from what the network expects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from netwright.errors import DataError, RecipeError
from netwright.training.evaluation import evaluation_mode

if TYPE_CHECKING:
    from netwright.run import Run


def written(
    run: Run,
    prompt: str,
    *,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
) -> Iterator[str]:
    """Yields what the run's network writes behind `prompt`; see `Run.write`."""
    from netwright.data.corpus import CorpusPreparation

    preparation = run.preparation
    if not isinstance(preparation, CorpusPreparation):
        raise DataError(
            f"{run.path} is no language model: it predicts {'classes' if run.classes else 'numbers'}.\n"
            "Only a run on one file of text writes: netwright fit corpus.txt"
        )
    _check(length, temperature, top_k, top_p, seed)
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise DataError("prompt: expected a text, came bytes that are not UTF-8") from None
    tokenizer = preparation.tokenizer
    ids = tokenizer.encode([prompt or "\n"])[0].tolist()
    return _pieces(run, ids, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)


def _pieces(run: Run, ids: list[int], *, length: int, seed: int, **choice: Any) -> Iterator[str]:
    preparation: Any = run.preparation
    generator = torch.Generator().manual_seed(seed)
    new: list[int] = []
    said = ""
    for _ in range(length):
        window = torch.tensor([(ids + new)[-preparation.length :]])
        with evaluation_mode(run.network):
            logits = run.network(window)[0, :, -1].float()
        new.append(next_token(logits, generator=generator, **choice))
        # A character may be made of several tokens: what is not yet whole waits.
        text = preparation.tokenizer.decode(new)
        whole = text if not text.endswith("\ufffd") else text.rstrip("\ufffd")
        if len(whole) > len(said) and whole.startswith(said):
            yield whole[len(said) :]
            said = whole
    rest = preparation.tokenizer.decode(new)[len(said) :]
    if rest:
        yield rest


def next_token(
    logits: Tensor, *, temperature: float, top_k: int | None, top_p: float | None, generator: torch.Generator
) -> int:
    """Returns a token drawn from (V,) float logits. Padding and the unknown, tokens 0 and 1, never come.

    >>> next_token(torch.tensor([9.0, 9.0, 1.0, 2.0]), temperature=0, top_k=None, top_p=None, generator=torch.Generator())
    3
    """
    logits = logits.clone()
    logits[:2] = -torch.inf
    if temperature == 0:
        return int(logits.argmax())
    shares = (logits / temperature).softmax(0)
    if top_k is not None and top_k < len(shares):
        shares[shares.argsort(descending=True, stable=True)[top_k:]] = 0
    if top_p is not None:
        ranked = shares.argsort(descending=True, stable=True)
        before = (shares[ranked] / shares.sum()).cumsum(0) - shares[ranked] / shares.sum()
        shares[ranked[before >= top_p]] = 0
    return int(torch.multinomial(shares, 1, generator=generator))


def _check(length: int, temperature: float, top_k: int | None, top_p: float | None, seed: int) -> None:
    if length < 1:
        raise RecipeError(f"length: expected at least 1 token, got {length}")
    if not 0 <= temperature < float("inf"):
        raise RecipeError(f"temperature: expected a number from 0 on, got {temperature}")
    if top_k is not None and top_k < 1:
        raise RecipeError(f"top-k: expected at least 1 token, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise RecipeError(f"top-p: expected a probability above 0 and up to 1, got {top_p}")
    if not 0 <= seed < 2**63:
        raise RecipeError(f"seed: expected a whole number from 0 on, got {seed}")

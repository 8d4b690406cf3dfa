"""Networks that read spectrograms frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from netwright.errors import NetworkError


# `eject` prints these classes as they stand: they may name nothing but nn.
class FramesFirst(nn.Module):
    """Turns (N, C, F, T) float into a row of T frames, (N, T, C * F): what a recurrent layer reads."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x.flatten(1, 2).transpose(1, 2)


class MeanGRU(nn.GRU):
    """The mean over time of a GRU's outputs: (N, T, D) float in, (N, hidden) out, twice that in both directions."""

    def forward(self, x):  # type: ignore[no-untyped-def, override]
        return super().forward(x)[0].mean(1)


class MeanLSTM(nn.LSTM):
    """The mean over time of an LSTM's outputs, as `MeanGRU`."""

    def forward(self, x):  # type: ignore[no-untyped-def, override]
        return super().forward(x)[0].mean(1)


CELLS: dict[str, type[MeanGRU] | type[MeanLSTM]] = {"gru": MeanGRU, "lstm": MeanLSTM}


def sound_rnn(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    cell: str = "gru",
    hidden: int = 128,
    layers: int = 2,
    bidirectional: bool = True,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Returns a recurrent network over the frames of a spectrogram, whose outputs are averaged over time, then Linear.

    It takes (N, channels, bands, frames) float and gives (N, num_outputs) float, logits. `cell` is "gru" or "lstm",
    `hidden` the size of a layer in one direction, `dropout` the share of values set to 0 in training between the layers
    and before the last one, in [0, 1). Raises NetworkError for other shapes, and for sizes and shares that cannot be.

    >>> sound_rnn((1, 40, 98), 10, hidden=32, layers=1)
    Sequential(
      (0): FramesFirst()
      (1): MeanGRU(40, 32, batch_first=True, bidirectional=True)
      (2): Linear(in_features=64, out_features=10, bias=True)
    )
    """
    if len(input_shape) != 3:
        raise NetworkError(
            f"network 'sound-rnn' expects spectrograms (channels, bands, frames), but one example has the shape "
            f"{tuple(input_shape)}.\nUse network 'mlp', which takes any shape."
        )
    if cell not in CELLS:
        raise NetworkError(f"`cell` expects {' or '.join(CELLS)}; got {cell!r}")
    for option, value in (("hidden", hidden), ("layers", layers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise NetworkError(f"`{option}` expects a whole number above 0; got {value!r}")
    if not isinstance(bidirectional, bool):
        raise NetworkError(f"`bidirectional` expects true or false; got {bidirectional!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise NetworkError(f"`dropout` expects a share from 0 up to, not including, 1; got {dropout!r}")
    recurrent = CELLS[cell](
        math.prod(input_shape[:2]),
        hidden,
        num_layers=layers,
        batch_first=True,
        dropout=dropout if layers > 1 else 0.0,
        bidirectional=bidirectional,
    )
    last = nn.Linear(hidden * (2 if bidirectional else 1), num_outputs)
    return nn.Sequential(FramesFirst(), recurrent, *([nn.Dropout(dropout)] if dropout else []), last)

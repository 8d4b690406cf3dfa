"""Blocks of attention and feed-forward over tokens, for networks of images and of tables."""

from __future__ import annotations

from torch import nn

from netwright.architectures.activations import activations
from netwright.architectures.options import check_dropout, check_heads, check_whole


# `eject` prints these classes as they stand: they may name nothing but nn and torch, and keep their arguments as attributes.
class Added(nn.Sequential):
    """Adds what its layers make of the input to the input: the same shape in and out."""

    def forward(self, x):  # type: ignore[no-untyped-def]
        return x + super().forward(x)


class SelfAttention(nn.Module):
    """Attention of each token to all of them: (N, T, width) float in and out (Vaswani et al. 2017)."""

    def __init__(self, width, heads, dropout=0.0):  # type: ignore[no-untyped-def]
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)

    def forward(self, x):  # type: ignore[no-untyped-def]
        count, tokens, width = x.shape
        query, key, value = self.inward(x).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        return self.outward(mixed.transpose(1, 2).reshape(count, tokens, width))


def attention_blocks(
    width: int,
    blocks: int,
    heads: int,
    *,
    factor: float,
    dropout: float,
    activation: str,
    first_norm: bool = True,
) -> list[nn.Module]:
    """Returns `blocks` times x + attention(norm x), then x + feed-forward(norm x), over tokens (N, T, width) float.

    The norm comes first in each (Xiong et al. 2020); `factor` times `width` is the inside of a feed-forward, `dropout` acts there and on the shares of
    attention. Without `first_norm` the first attention takes its tokens as they are. Raises NetworkError for sizes that cannot be.
    """
    for option, value in (("width", width), ("blocks", blocks), ("heads", heads)):
        check_whole(value, option)
    check_dropout(dropout)
    check_heads(width, heads)
    inner = check_whole(int(width * factor), "factor x width")
    layers: list[nn.Module] = []
    for block in range(blocks):
        # In the order in which they act: `eject` prints them so, and each draws its first weights when it is made.
        norm = [nn.LayerNorm(width)] if block or first_norm else []
        layers.append(Added(*norm, SelfAttention(width, heads, dropout)))
        dropped = [nn.Dropout(dropout)] if dropout else []
        first, second = nn.Linear(width, inner), nn.Linear(inner, width)
        layers.append(Added(nn.LayerNorm(width), first, activations[activation](), *dropped, second))
    return layers

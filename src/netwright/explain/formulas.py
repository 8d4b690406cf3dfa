"""What each kind of layer computes, and what it does to the gradient on the way back, as people write it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Formula:
    """A layer in words. `formula`: plain text; `means`: one plain sentence; `back`: one on its gradient."""

    formula: str
    means: str
    back: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


_CONVOLUTION = Formula(
    "y[o] = Σ over channels c and places k of w[o, c, k] · x[c, place + k] + b[o]",
    "Slides small filters over the input: each output map says where its pattern was found.",
    "Each weight sums the gradient over every place where it was used; the input gets the filters turned round over the gradient.",
)
_TRANSPOSED = Formula(
    "y[place · stride + k] += w[c, o, k] · x[c, place]",
    "Spreads each value over a larger output: the convolution read backwards.",
    "The input gets an ordinary convolution of the gradient with the same weights.",
)
_MAX_POOL = Formula(
    "y = max of x over a window",
    "Keeps the largest value of each window, so that the map gets smaller.",
    "Only the value that won its window gets the gradient; the others get 0.",
)
_MEAN_POOL = Formula(
    "y = mean of x over a window",
    "Averages each window, so that the map gets smaller.",
    "The gradient is shared equally by all values of the window.",
)
_BATCH_NORM = Formula(
    "y = (x − μ) / √(σ² + ε) · γ + β, with μ, σ² of each channel over the batch (in evaluation: remembered from training)",
    "Brings each channel to mean 0 and deviation 1, then lets the network choose scale and shift.",
    "In evaluation the gradient is only scaled by γ/σ; in training the examples of a batch influence each other's.",
)
_NORM = Formula(
    "y = (x − μ) / √(σ² + ε) · γ + β, with μ, σ² of each example's own values",
    "Brings the values of each example to mean 0 and deviation 1, then lets the network choose scale and shift.",
    "Scaled by γ/σ, less its mean and its part along the output: a change of scale of x gets no gradient.",
)
_DROPOUT = Formula(
    "training: y = x · m / (1 − p), m = 0 with probability p, else 1 · evaluation: y = x",
    "Sets a random share of values to 0 in training, so that no value is relied on alone; does nothing in evaluation.",
    "What was set to 0 gets no gradient; the rest is scaled by 1/(1 − p).",
)
_REARRANGED = Formula(
    "y = the same numbers in another shape",
    "Only rearranges the numbers; nothing is computed.",
    "The gradient is rearranged back.",
)
_SCALED = Formula(
    "y = x at places between those that are there (nearest, or weighted)",
    "Makes the map larger by repeating or interpolating its values.",
    "Each value gets the sum of the gradients of the places that it filled.",
)
_PADDED = Formula(
    "y = x with a border (zeros, a constant, copies or mirror images)",
    "Adds a border around the values.",
    "The gradient of the border is dropped, or added to the values that were copied.",
)

FORMULAS: dict[str, Formula] = {
    "Linear": Formula(
        "y = x Wᵀ + b",
        "Each output is a weighted sum of all inputs, plus a constant.",
        "x gets dy·W, W gets dyᵀ·x, b gets the sum of dy: large weights make large gradients.",
    ),
    "Bilinear": Formula(
        "y = x₁ᵀ A x₂ + b",
        "Each output is a weighted sum over all pairs of the two inputs' values.",
        "Each input gets the gradient through the weights and the other input.",
    ),
    "Embedding": Formula(
        "y = row number x of the table W",
        "Looks up a learned vector for each whole number, such as a token's id.",
        "Only the rows that were looked up get a gradient; the whole numbers have none.",
    ),
    "EmbeddingBag": Formula(
        "y = sum or mean of the rows x of the table W",
        "Looks up a learned vector for each whole number and puts those of a bag together.",
        "Only the rows that were looked up get a gradient.",
    ),
    "ReLU": Formula(
        "y = max(0, x)",
        "Passes positive values and cuts negative ones to 0.",
        "1 where x > 0, else 0: a unit that is negative on every example learns nothing (dead).",
    ),
    "ReLU6": Formula("y = min(max(0, x), 6)", "A ReLU that stops at 6.", "1 where 0 < x < 6, else 0."),
    "LeakyReLU": Formula(
        "y = x where x > 0, else a·x with a small a (0.01)",
        "A ReLU that lets a little of the negative values through.",
        "1 where x > 0, else a: no unit can die.",
    ),
    "PReLU": Formula(
        "y = x where x > 0, else a·x with a learned a",
        "A leaky ReLU whose leak is learned.",
        "1 where x > 0, else a; a gets dy·x of the negative values.",
    ),
    "RReLU": Formula(
        "y = x where x > 0, else a·x with a random a (its mean in evaluation)",
        "A leaky ReLU whose leak is drawn anew in training.",
        "1 where x > 0, else a.",
    ),
    "ELU": Formula(
        "y = x where x > 0, else α (eˣ − 1)",
        "Like a ReLU, but falls smoothly to −α.",
        "1 where x > 0, else α·eˣ: it fades for very negative x.",
    ),
    "CELU": Formula(
        "y = max(0, x) + min(0, α (e^(x/α) − 1))",
        "An ELU whose slope has no corner at 0.",
        "1 where x > 0, else e^(x/α).",
    ),
    "SELU": Formula(
        "y = λ x where x > 0, else λ α (eˣ − 1), λ = 1.0507, α = 1.6733",
        "An ELU scaled so that deep plain networks keep mean 0 and deviation 1.",
        "λ where x > 0, else λ α eˣ.",
    ),
    "GELU": Formula(
        "y = x · Φ(x), Φ the normal distribution",
        "A smooth ReLU that lets slightly negative values through a little.",
        "About 1 for large x, about 0 for very negative x, slightly negative around −1.",
    ),
    "SiLU": Formula(
        "y = x · σ(x) = x / (1 + e⁻ˣ)",
        "A smooth ReLU: the value times its own sigmoid (swish).",
        "About 1 for large x, about 0 for very negative x.",
    ),
    "Mish": Formula(
        "y = x · tanh(ln(1 + eˣ))",
        "A smooth ReLU with a small dip below 0.",
        "About 1 for large x, about 0 for very negative x.",
    ),
    "Softplus": Formula(
        "y = ln(1 + eˣ)", "A smooth ReLU that is always above 0.", "σ(x): fades for very negative x."
    ),
    "Softsign": Formula(
        "y = x / (1 + |x|)", "Squeezes values into −1 to 1, slowly.", "1 / (1 + |x|)²: fades for large |x|."
    ),
    "Sigmoid": Formula(
        "y = 1 / (1 + e⁻ˣ)",
        "Squeezes values into 0 to 1, as a probability.",
        "y (1 − y), at most 0.25: it fades for large |x| (saturation).",
    ),
    "LogSigmoid": Formula(
        "y = −ln(1 + e⁻ˣ)", "The logarithm of the sigmoid.", "1 − σ(x): fades for large x."
    ),
    "Tanh": Formula(
        "y = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)",
        "Squeezes values into −1 to 1.",
        "1 − y², at most 1: it fades for large |x| (saturation).",
    ),
    "Hardtanh": Formula("y = x cut to −1 … 1", "Cuts values to a range.", "1 inside the range, 0 outside."),
    "Hardsigmoid": Formula(
        "y = x/6 + 1/2, cut to 0 … 1", "A sigmoid made of three straight lines.", "1/6 inside −3 … 3, else 0."
    ),
    "Hardswish": Formula(
        "y = x · hardsigmoid(x)", "A SiLU made of simple pieces.", "0 below −3, 1 above 3, a line between."
    ),
    "Hardshrink": Formula(
        "y = x where |x| > λ, else 0", "Cuts small values to 0.", "1 where |x| > λ, else 0."
    ),
    "Softshrink": Formula(
        "y = x moved by λ towards 0",
        "Moves values towards 0 and cuts small ones.",
        "1 where |x| > λ, else 0.",
    ),
    "Tanhshrink": Formula("y = x − tanh(x)", "Takes away the part that tanh would keep.", "tanh²(x)."),
    "Threshold": Formula(
        "y = x where x > t, else v", "Replaces small values by v.", "1 where x > t, else 0."
    ),
    "GLU": Formula(
        "y = a · σ(b), x cut into the halves a and b",
        "One half decides how much of the other passes.",
        "a gets σ(b); b gets a·σ(b)(1 − σ(b)), which fades for large |b|.",
    ),
    "Softmax": Formula(
        "yᵢ = e^xᵢ / Σⱼ e^xⱼ",
        "Turns values into shares above 0 that sum to 1.",
        "y (dy − Σ dy·y): it fades where one share is near 1.",
    ),
    "Softmin": Formula(
        "yᵢ = e^−xᵢ / Σⱼ e^−xⱼ",
        "A softmax that favours the smallest value.",
        "As softmax, with the sign turned.",
    ),
    "LogSoftmax": Formula(
        "yᵢ = xᵢ − ln Σⱼ e^xⱼ",
        "The logarithms of softmax's shares.",
        "dy − softmax(x) · Σ dy: with the loss nll it is predicted share minus truth, and does not fade.",
    ),
    "Flatten": _REARRANGED,
    "Unflatten": _REARRANGED,
    "PixelShuffle": _REARRANGED,
    "PixelUnshuffle": _REARRANGED,
    "ChannelShuffle": _REARRANGED,
    "Unfold": _REARRANGED,
    "Identity": Formula("y = x", "Does nothing.", "The gradient passes unchanged."),
    "MultiheadAttention": Formula(
        "y = softmax(Q Kᵀ / √d) V for each head; Q, K, V are linear in the inputs; heads joined by one more linear layer",
        "Each position looks at all others and takes a weighted mean of them; the weights come from how well they match.",
        "Flows to the values by the attention weights, and through the softmax to queries and keys; sharp attention lets little through there.",
    ),
    "RNN": Formula(
        "hₜ = tanh(xₜ Wᵀ + hₜ₋₁ Uᵀ + b)",
        "Reads a sequence step by step and keeps a memory of what came before.",
        "Passes through U and tanh at every step back: over many steps it fades or explodes.",
    ),
    "LSTM": Formula(
        "i, f, o = σ(…), g = tanh(…) of xₜ and hₜ₋₁ · cₜ = f cₜ₋₁ + i g · hₜ = o tanh(cₜ)",
        "Reads a sequence step by step; gates decide what its memory forgets, takes in and shows.",
        "Runs back along the memory c, scaled only by the forget gate: it lasts over many more steps than in a plain RNN.",
    ),
    "GRU": Formula(
        "r, z = σ(…) of xₜ and hₜ₋₁ · n = tanh(x part + r · h part) · hₜ = (1 − z) n + z hₜ₋₁",
        "Reads a sequence step by step; two gates decide how much of the memory is replaced.",
        "Runs back along h, scaled by the gate z: it lasts longer than in a plain RNN.",
    ),
    "RMSNorm": Formula(
        "y = x / √(mean(x²) + ε) · γ",
        "Brings the size of each example's values to 1, without moving their mean.",
        "Scaled by γ over the size; a change of scale of x gets no gradient.",
    ),
    "LocalResponseNorm": Formula(
        "y = x / (k + α/n Σ x² over n neighbouring channels)^β",
        "Damps a value whose neighbours in other channels are large.",
        "Neighbouring channels get a part with the opposite sign.",
    ),
    "CosineSimilarity": Formula(
        "y = x₁·x₂ / (|x₁| |x₂|)",
        "How alike two directions are, from −1 to 1.",
        "Only turns a vector, never stretches it.",
    ),
    "AlphaDropout": Formula(
        "training: some values are set to SELU's lowest value, then all are scaled · evaluation: y = x",
        "A dropout that keeps mean and deviation for SELU networks.",
        "What was replaced gets no gradient.",
    ),
    "add": Formula(
        "y = a + b",
        "Adds two values place by place, as a skip connection does.",
        "Both get the gradient unchanged: this is why skip connections keep deep networks trainable.",
    ),
    "sub": Formula("y = a − b", "Subtracts place by place.", "a gets the gradient, b its negative."),
    "mul": Formula(
        "y = a · b", "Multiplies place by place, as a gate does.", "Each gets the gradient times the other."
    ),
    "div": Formula(
        "y = a / b",
        "Divides place by place.",
        "a gets it over b; b gets −a/b² of it: large where b is near 0.",
    ),
    "cat": Formula(
        "y = a and b side by side",
        "Puts tensors side by side along one dimension.",
        "Each gets its own part of the gradient.",
    ),
    "stack": Formula(
        "y = a, b, … along a new dimension",
        "Puts tensors of one shape behind each other.",
        "Each gets its own part of the gradient.",
    ),
    "matmul": Formula(
        "y = A B", "A product of matrices: all weighted sums at once.", "A gets dy·Bᵀ and B gets Aᵀ·dy."
    ),
    "mean": Formula("y = Σ x / n", "The average.", "Shared equally by all values."),
    "sum": Formula("y = Σ x", "The sum.", "All values get the same gradient."),
    "max": Formula("y = max x", "The largest value.", "Only the largest value gets the gradient."),
    "scaled_dot_product_attention": Formula(
        "y = softmax(Q Kᵀ / √d) V",
        "Each position takes a weighted mean of all values; the weights come from how well query and key match.",
        "Flows to the values by the attention weights, and through the softmax to queries and keys.",
    ),
}
FORMULAS |= {f"Conv{n}d": _CONVOLUTION for n in (1, 2, 3)}
FORMULAS |= {f"ConvTranspose{n}d": _TRANSPOSED for n in (1, 2, 3)}
FORMULAS |= {f"{kind}MaxPool{n}d": _MAX_POOL for kind in ("", "Adaptive", "Fractional") for n in (1, 2, 3)}
FORMULAS |= {f"{kind}AvgPool{n}d": _MEAN_POOL for kind in ("", "Adaptive") for n in (1, 2, 3)}
FORMULAS |= {f"BatchNorm{n}d": _BATCH_NORM for n in (1, 2, 3)} | {"SyncBatchNorm": _BATCH_NORM}
FORMULAS |= {f"InstanceNorm{n}d": _NORM for n in (1, 2, 3)} | {"LayerNorm": _NORM, "GroupNorm": _NORM}
FORMULAS |= {f"Dropout{n}": _DROPOUT for n in ("", "1d", "2d", "3d")}
FORMULAS |= dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _SCALED)
FORMULAS |= {
    f"{kind}Pad{n}d": _PADDED
    for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
    for n in (1, 2, 3)
}
FORMULAS |= {f"{kind}Cell": FORMULAS[kind] for kind in ("RNN", "LSTM", "GRU")}

# What torch.nn.functional and tensors call the same.
SAME = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "sigmoid": "Sigmoid",
    "logsigmoid": "LogSigmoid",
    "tanh": "Tanh",
    "hardtanh": "Hardtanh",
    "hardsigmoid": "Hardsigmoid",
    "hardswish": "Hardswish",
    "hardshrink": "Hardshrink",
    "softshrink": "Softshrink",
    "tanhshrink": "Tanhshrink",
    "threshold": "Threshold",
    "glu": "GLU",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
    "linear": "Linear",
    "embedding": "Embedding",
    "dropout": "Dropout",
    "layer_norm": "LayerNorm",
    "rms_norm": "RMSNorm",
    "group_norm": "GroupNorm",
    "batch_norm": "BatchNorm2d",
    "interpolate": "Upsample",
    "pad": "ZeroPad2d",
    "amax": "max",
    "concat": "cat",
    "concatenate": "cat",
    "true_divide": "div",
    "bmm": "matmul",
    "mm": "matmul",
    **{f"conv{n}d": f"Conv{n}d" for n in (1, 2, 3)},
    **{f"max_pool{n}d": f"MaxPool{n}d" for n in (1, 2, 3)},
    **{f"avg_pool{n}d": f"AvgPool{n}d" for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": f"AdaptiveAvgPool{n}d" for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": f"AdaptiveMaxPool{n}d" for n in (1, 2, 3)},
}

# Place by place: their slope at a value is what a gradient is multiplied with there.
_ACTIVATIONS = (
    "ReLU ReLU6 LeakyReLU PReLU RReLU ELU CELU SELU GELU SiLU Mish Softplus Softsign Sigmoid LogSigmoid Tanh Hardtanh "
    "Hardsigmoid Hardswish Hardshrink Softshrink Tanhshrink Threshold"
)
ACTIVATIONS = frozenset(_ACTIVATIONS.split())


def same_kind(kind: str) -> str:
    """Returns the name of a layer's class for a function's name, or the name itself.

    >>> same_kind("leaky_relu"), same_kind("Conv2d")
    ('LeakyReLU', 'Conv2d')
    """
    return SAME.get(kind, kind)


def formula_of(kind: str) -> Formula | None:
    """Returns what a layer's class or a function of this name computes; None where it is not known.

    >>> formula_of("relu").formula
    'y = max(0, x)'
    """
    return FORMULAS.get(same_kind(kind))

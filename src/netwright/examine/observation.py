"""What the observer writes down and the rules read: plain numbers and structure, never a live tensor.

An Observation is a set of lists of records, each in the order in which things happened. It goes to JSON and back
(`to_dict`, `from_dict`), so that a rule can be tested from a recorded observation and run again on a saved one.

Which record answers which question:

| question | record |
|---|---|
| which layers, parameters, optimizers, data loaders are there | `modules`, `parameters`, `optimizers`, `loaders` |
| which operation made what out of what, on which line | `ops` (deep steps only: see `Op`) |
| what did the loss receive | `losses` (every deep and sampled step) |
| what happened in which order | `events`, and `order` on every record: one counter for all of them |
| what did a network receive and give | `forwards` (outermost calls), `layers` (statistics of each layer) |
| gradients after a backward | `backwards` |
| learning rates, gradients that a step used, size of its update | `steps` |
| evaluation | `evaluations` |
| which examples are trained on and evaluated on, what the loaders give | `trained`, `passes`, `batches` |
| the loss over the whole run | `curve`: [step, value] of every backward on a CPU, of sampled ones elsewhere |
| steps between samples whose loss stood out | `spikes`: [step, loss, norm of the gradient], at most 32 |
| the gradient between samples | `glances`: [step, norm] of idle backwards to the 100th, and of spikes; `outliers`: steps whose norm stood out |
| the first number that is not finite | `births` |
| how the program ended | `crash`, `ended` |

`step` on a record is the number of optimizer steps that were complete at that time. `order` counts everything, so two
records of different kinds can be compared. Deep steps are the first three (and the first of a new optimizer, and the
first batches of the first evaluations); sampled ones are eight of the first twenty, then one in fifty.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line of the user's own code."""

    file: str
    line: int
    function: str = ""


class Stats(NamedTuple):
    """Numbers of one tensor; mean, std and zero are of at most 16,384 of its values."""

    min: float
    max: float
    mean: float
    std: float
    finite: float  #: share of values that are finite
    zero: float  #: share of values that are exactly 0
    size: int  #: number of values
    at: int = -1  #: flat index of the first value that is not finite
    bad: int = 0  #: entries of the first dimension (examples) with such a value


@dataclass(slots=True)
class Operand:
    """A tensor that went into an operation, and where it came from."""

    position: str  #: name of the argument ("input", "target", "weight", "other"), or its number
    op: int = -1  #: index of the operation that made it, -1 if it was not seen
    source: str = (
        "unknown"  #: op, parameter, buffer, leaf (of the user, wants a gradient) or unknown (data, constants)
    )
    parameter: int = -1  #: uid in `parameters` if source is parameter or leaf
    shape: tuple[int, ...] = ()
    dtype: str = ""
    grad: bool = False  #: it takes part in a graph (requires_grad)
    stats: Stats | None = (
        None  #: of operands that no seen operation made, and of all operands of logs, roots, losses
    )


@dataclass(slots=True)
class Op:
    """One call of a torch function by the user's code or by a layer, in a deep step.

    `name` is the plain word whatever the spelling: `x.relu_()`, `F.relu(x)` and `torch.relu(x)` are "relu"; `a - b` is
    "sub", `1 - a` is "rsub", `a[i]` is "getitem", `a @ b` is "matmul", `x.data` is "data". What a composite function
    of PyTorch (multi_head_attention_forward, cross_entropy) does inside is not split up.
    """

    index: int
    order: int
    step: int
    name: str
    inputs: list[Operand]
    options: dict[str, Any]  #: arguments that are not tensors, by name where known: {"dim": 1}
    shape: tuple[int, ...] = ()
    dtype: str = ""
    grad: bool = False  #: the result takes part in a graph
    grad_enabled: bool = True
    inplace: bool = False
    module: int = -1  #: uid of the innermost module that was running, -1 outside of all
    place: Place | None = None  #: the user's line that led to the call
    caller: Place | None = None  #: the user's line that called `place.function`, where both are the user's
    stats: Stats | None = None  #: of the result


@dataclass(slots=True)
class Module:
    """A module that ran, or that belongs to one that ran."""

    uid: int
    name: str  #: qualified name within its root, "" for a root
    cls: str  #: class name: "Linear"
    torch: bool  #: the class comes with PyTorch
    root: int  #: uid of the outermost module to which it belongs (its own, for a root)
    inside: int = -1  #: uid of the module in whose forward it ran without being a part of it, -1 otherwise
    place: Place | None = None  #: where it was constructed
    built_for: Place | None = (
        None  #: the user's line that called the function in which `place` stands, no __init__
    )
    config: dict[str, Any] = field(default_factory=dict)  #: plain attributes: {"p": 0.5, "in_features": 784}
    parameters: list[int] = field(
        default_factory=list
    )  #: uids of its own parameters, without those of its parts
    names: list[str] = field(
        default_factory=list
    )  #: all its names, where the same object stands in several places
    training: bool = True  #: when it was first seen
    children: int = 0


@dataclass(slots=True)
class Parameter:
    """A leaf tensor that can be trained: of a module, of an optimizer, or one that the user made."""

    uid: int
    name: str = ""  #: qualified name within its root, "" if no known module has it
    module: int = -1  #: uid of the module that owns it
    shape: tuple[int, ...] = ()
    dtype: str = ""
    device: str = ""
    requires_grad: bool = True  #: when it was first seen
    buffer: bool = False
    trainable: bool = (
        True  #: an nn.Parameter, or held by an optimizer; not just any leaf that wants a gradient
    )
    rows_equal: bool = False  #: all rows of a matrix were equal before the first backward
    gradient_rows_equal: bool | None = None  #: and those of its first gradient other than 0, None before
    stats: Stats | None = None  #: before the first backward
    written: Place | None = (
        None  #: the user's line that last gave it values before the first backward: made, filled, drawn, copied
    )


@dataclass(slots=True)
class Optimizer:
    uid: int
    cls: str
    groups: list[dict[str, Any]]  #: plain hyper-parameters of each group, when first seen: {"lr": 0.1}
    parameters: list[int] = field(default_factory=list)
    place: Place | None = None  #: where it was constructed
    step_place: Place | None = None  #: where it was stepped first
    steps: int = 0


@dataclass(slots=True)
class Loader:
    """A torch DataLoader that was iterated over."""

    uid: int
    dataset: str  #: class of the dataset
    dataset_id: int  #: same number, same dataset object (below any Subset)
    examples: int  #: length of the dataset, -1 if it has none
    sampler: str  #: class of the sampler: RandomSampler, SequentialSampler, ...
    batch: int
    workers: int
    drop_last: bool
    collate: bool = True  #: it stacks examples along a new first dimension (PyTorch's own way)
    place: Place | None = None  #: where it was iterated over first
    built: Place | None = None  #: where it was constructed
    built_for: Place | None = None  #: the user's line that called the function in which `built` stands
    indices: str = ""  #: digest of a Subset's indices, "" if it is not a Subset
    replicas: int = 1  #: processes among which a DistributedSampler divides the examples
    passes: int = 0  #: times that an iteration over it began
    begun: int = 0  #: batches before the latest of these began
    ended: int = 0  #: times that it ran to its end
    batches: int = 0
    trained: int = 0  #: batches that were followed by a backward before the next batch
    waited: float = (
        0.0  #: seconds spent in next() while nothing else was watched, the first batch of each pass left out
    )
    spanned: float = 0.0  #: seconds from one batch to the next, of the same batches
    waited_batches: int = 0
    overlaps: dict[str, float] = field(
        default_factory=dict
    )  #: uid of an earlier loader -> share of indices it shares


@dataclass(slots=True)
class Loss:
    """A call of one of PyTorch's loss functions, measured before it ran (so also if it raised an exception)."""

    order: int
    step: int
    function: str  #: cross_entropy, nll_loss, binary_cross_entropy, ..., mse_loss, ...
    op: int = -1  #: index in `ops` in deep steps
    module: int = -1  #: uid of the loss module, -1 for the function itself
    place: Place | None = None
    options: dict[str, Any] = field(default_factory=dict)  #: reduction, ignore_index, weight ("given"), ...
    prediction_shape: tuple[int, ...] = ()
    prediction_dtype: str = ""
    prediction_grad: bool = False
    prediction: Stats | None = None
    target_shape: tuple[int, ...] = ()
    target_dtype: str = ""
    target_grad: bool = False
    target: Stats | None = None
    grad_enabled: bool = True
    value: float | None = None  #: of the loss, where it is a scalar
    # with class ids or class probabilities:
    classes: int = 0  #: size of the class dimension
    ignored: float = 0.0  #: share of targets equal to ignore_index
    label_min: int | None = None  #: smallest class id, ignored ones left out
    label_max: int | None = None
    labels: list[int] = field(default_factory=list)  #: the first 256 class ids in their order
    histogram: list[int] = field(default_factory=list)  #: count of each class id, up to 1,000 classes
    predicted: list[int] = field(default_factory=list)  #: count of each class under argmax
    row_sum: tuple[float, float] | None = None  #: smallest and largest sum of exp(0)-free rows: sum of a row
    row_logsumexp: tuple[float, float] | None = None  #: smallest and largest logsumexp of a row
    column_sum: tuple[float, float] | None = None  #: the same over the batch, per class
    floor_share: float = 0.0  #: share of predictions equal to the smallest one
    true_floor_share: float | None = (
        None  #: share of examples whose true class has the smallest prediction of all
    )
    # targets in general:
    distinct: int = 0  #: number of distinct values among the first 4,096 targets
    integral: bool = False  #: all of these are whole numbers
    quantiles: tuple[float, ...] = ()  #: 5, 25, 50, 75 and 95 % of these, of floating targets
    counts: list[int] = field(
        default_factory=list
    )  #: of 0, 1, 2, ... among these, where all are whole numbers from 0 to 999


@dataclass(slots=True)
class Event:
    """Something that happened: kind is one of

    eval, train (Module.eval/train called) · no_grad (entered by the user) · zero_grad · clip (gradients clipped) · unscale ·
    generator (one of the program's own is seeded) ·
    scale · scaler_step (of a GradScaler) · scheduler (detail: cls, lr, optimizer) · scheduler_built (where it was constructed) · seed (detail: function) · grad (torch.autograd.grad) ·
    set_order (of strings, kept: detail name) · manual_update (a parameter changed in place outside of an optimizer) · optimizer (constructed) · loader_end · compile.
    The first 400 of each kind are kept; `Observation.counts` has them all.
    """

    order: int
    kind: str
    step: int
    place: Place | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    caller: Place | None = (
        None  #: of seeds, generators and zero_grad: the user's line that called `place.function`
    )


@dataclass(slots=True)
class Forward:
    """An outermost call of a module, in deep and sampled steps and in evaluations."""

    order: int
    step: int
    module: int
    grad_enabled: bool
    training: bool  #: the module's own flag
    place: Place | None = None
    shape: tuple[int, ...] = ()  #: of the first tensor that it received
    dtype: str = ""
    output: tuple[int, ...] = ()  #: shape of the first tensor that came out
    output_grad: bool = False
    input_grad: bool = False  #: a gradient of something that it received is wanted
    stats: Stats | None = None  #: of the first tensor that it received
    loader: int = -1  #: uid of the loader that gave the latest batch before
    batch: int = -1  #: number of that batch in its pass over the loader, from 0 on
    others: dict[str, Stats] = field(
        default_factory=dict
    )  #: position -> numbers of further tensors that it received, if not finite
    output_bad: bool = False  #: values that are not finite went in and came out
    examples: list[int] = field(
        default_factory=list
    )  #: fingerprints of the examples of the batch, at most 512
    modal_training: int = 0  #: calls of dropout (p > 0) and batch norm layers in training mode
    modal_evaluating: int = 0  #: and in evaluation mode
    followed: str = ""  #: "backward" if a backward came before the next outermost call of this module


@dataclass(slots=True)
class Layer:
    """What one module without parts received and gave: the first call of it in a deep or sampled step."""

    order: int
    step: int
    module: int
    training: bool
    shape: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    received: Stats | None = None
    gave: Stats | None = None
    dead: float | None = None  #: share of units (features, channels) whose output is 0 for the whole batch
    saturated: float | None = None  #: share of values of a sigmoid or tanh with a derivative under 0.01
    before: int = (
        -1
    )  #: index of the function (F.relu, torch.tanh) whose result it received: these two are of that result


@dataclass(slots=True)
class Intake:
    """Data that came to a layer with trainable weights before any other layer with parameters changed them.

    From deep steps, and of layers known from there also from sampled ones (at most 60 of a layer). Of wide data every
    n-th feature is there, and of many examples every n-th.
    """

    order: int
    step: int
    call: str  #: linear, conv2d, matmul, lstm, ...
    op: int = -1  #: index of the operation, in deep steps
    operand: int = 0  #: which of its operands the data are
    module: int = -1
    place: Place | None = None  #: where the layer was called, in deep steps
    shape: tuple[int, ...] = ()
    features: int = 0  #: size of the dimension of the features (channels of images)
    examples: int = 0
    stats: Stats | None = None
    low: list[float] = field(default_factory=list)  #: of each feature: smallest value, and so on
    high: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    typical: list[float] = field(default_factory=list)  #: median of the absolute values
    zeros: list[float] = field(default_factory=list)  #: share of values that are 0
    ends: list[float] = field(
        default_factory=list
    )  #: share of values equal to the smallest or largest of all
    identical: bool = False  #: all examples (of at least two) are equal
    integral: bool = False  #: all values are whole numbers
    twice: bool = False  #: all values are multiples of 1/255/255, up to 1/255, and not of 1/255


@dataclass(slots=True)
class Backward:
    order: int
    step: int
    place: Place | None = None
    op: int = -1  #: index of the operation that made the loss, in deep steps
    root: str = ""  #: name of the graph's last node ("NllLossBackward0"), "" if the loss has no graph
    leaf: bool = False  #: the loss is a leaf: nothing lies behind it
    value: float | None = None
    retain_graph: bool = False
    create_graph: bool = False
    inside_step: bool = False  #: called from the closure of an optimizer
    raised: str = ""  #: the exception that it raised
    sampled: bool = False  #: the fields below were measured
    before: int = 0  #: parameters that held a gradient other than 0 on entry
    piled: int = 0  #: of these, the ones whose gradient a step had already used
    moved: bool = False  #: parameters changed since the last backward without an optimizer's step
    shares: int = -1  #: in deep steps: order of an earlier backward through a part of the same graph
    along: float | None = (
        None  #: if they did: cosine between the change and the gradient of the last backward
    )
    gradients: dict[str, float] = field(
        default_factory=dict
    )  #: uid of a parameter -> norm of its gradient afterwards
    missing: list[int] = field(
        default_factory=list
    )  #: uids of trainable parameters without a gradient afterwards
    half: bool = False  #: float16 took part in the graph; then:
    underflow: float = (
        0.0  #: share of values of weights' gradients that are 0 in rows and columns that are not all 0
    )
    subnormal: float = 0.0  #: share of the others that are too small for a normal float16 (below 6.1e-5)
    vanished: int = 0  #: weights whose whole gradient is 0
    alive: int = 0  #: steps, at least three ago, of whose graph something is still alive


@dataclass(slots=True)
class Step:
    """A completed step of an optimizer; `step` is its number from 0 on."""

    order: int
    step: int
    optimizer: int
    lr: list[float]
    place: Place | None = None
    backwards: int = 0  #: since the previous step of this optimizer
    sampled: bool = False  #: the fields below were measured
    held: int = 0  #: its parameters with a gradient other than 0
    zero: int = 0  #: its parameters whose gradient is 0 throughout
    none: int = 0  #: its parameters without a gradient
    frozen: int = 0  #: its parameters with requires_grad=False
    piled: int = 0  #: its parameters whose gradient still contains what its last step used
    none_uids: list[int] = field(default_factory=list)
    none_stateful: list[int] = field(
        default_factory=list
    )  #: of these, the ones of which the optimizer keeps a state: they had a gradient before
    ratios: dict[str, float] = field(
        default_factory=dict
    )  #: uid -> norm of the update over norm of the parameter
    norms: dict[str, float] = field(default_factory=dict)  #: uid -> norm of the parameter before the step
    gradients: dict[str, float] = field(
        default_factory=dict
    )  #: uid -> norm of the gradient that the step used
    along: float | None = (
        None  #: cosine between update and gradient: around -1 where the loss is descended, above 0 where it is climbed
    )


@dataclass(slots=True)
class Evaluation:
    """Outermost forwards without gradient recording, from the first to the next backward."""

    order: int
    step: int
    place: Place | None = None  #: of the first forward
    forwards: int = 0
    modules: list[int] = field(default_factory=list)  #: roots that ran
    modal_training: list[int] = field(
        default_factory=list
    )  #: dropout (p > 0) and batch norm that ran in training mode
    modal_evaluating: list[int] = field(default_factory=list)
    compared: bool = False  #: outputs were compared with something (==, argmax, a loss, a metric)
    compared_place: Place | None = None
    loader: int = -1  #: uid of the loader whose batches it saw
    exported: bool = False  #: outputs left torch (numpy, tolist, item)
    complete: bool = False  #: a backward followed, or the program ended normally
    asked: int = 0  #: answers compared with == or != in the batches that were watched closely
    right: int = 0  #: of these, equal
    reduced: bool = False  #: numbers were exchanged with other processes (all_reduce, all_gather, ...)


@dataclass(slots=True)
class Pairing:
    """How far the targets of the examples of the first steps depend on their inputs (see pairing.py)."""

    order: int
    step: int  #: at which it was judged
    function: str  #: of the loss
    place: Place | None = None  #: of the loss
    module: int = -1  #: uid of the root that was given the inputs
    shape: tuple[int, ...] = ()  #: of the input of one example
    rows: int = 0  #: different examples
    repeated: int = 0  #: examples that came again
    distinct: int = 0  #: different targets
    largest: float = 0.0  #: share of the most frequent one
    losses: int = 0  #: values of the loss that were seen
    late: float = math.inf  #: mean of the later half of them
    level: float | None = None  #: loss of the best answer that is the same for every input
    scores: tuple[float, float, float] | None = (
        None  #: deviations from permuted targets; None: not to be read
    )

    @property
    def at_chance(self) -> bool:
        """Whether the later losses are no lower than those of one answer for every input."""
        return self.level is not None and self.late > 0.95 * self.level


@dataclass(slots=True)
class TrainedBatch:
    """Examples that a network was trained on: the last forward of its root before a backward that a step followed.

    All of the first twenty steps and one in fifty; in between as many as a budget of time allows.
    """

    order: int
    step: int
    module: int  #: uid of the root
    size: int  #: examples in the batch
    examples: list[int] = field(default_factory=list)  #: fingerprints
    loader: int = -1  #: uid of the loader that gave the latest batch
    optimizers: int = 0  #: optimizers that had been constructed
    place: Place | None = None  #: of the forward, in deep and sampled steps


@dataclass(slots=True)
class EvaluationPass:
    """A run of outermost forwards that train nothing, over one set of examples (see streams.py)."""

    order: int
    step: int
    module: int  #: uid of the root
    place: Place | None = None  #: of the forward
    caller: Place | None = None  #: the user's line that called the function around it
    loader: int = -1  #: uid of the loader whose batches it saw, -1 if none was at work
    entry: int = 0  #: how often eval() had been called
    grad_enabled: bool = False
    training: bool = False  #: the root's flag
    optimizers: int = 0  #: optimizers that had been constructed
    forwards: int = 0
    count: int = 0  #: examples
    sizes: list[int] = field(default_factory=list)  #: how many of `examples` came with each forward
    examples: list[int] = field(default_factory=list)  #: fingerprints in their order, at most 4,096
    bits: float = (
        0.0  #: how many different examples there can be, as a power of 2 (whole numbers); 1000: no bound
    )
    continuous: bool = False  #: each feature has another value in nearly every example of the first batch
    compared: bool = False  #: outputs were compared with something
    compared_place: Place | None = None
    exported: bool = False  #: outputs left torch
    complete: bool = False  #: a backward followed, or the program ended normally


@dataclass(slots=True)
class Totals:
    """Sums over the distinct examples of plain feature vectors that a root was trained on, or evaluated on."""

    module: int  #: uid of the root
    side: str  #: training, evaluation
    count: int = 0
    sums: list[float] = field(default_factory=list)  #: of each feature
    squares: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """A batch of a DataLoader with known indices: of the first passes of each loader."""

    order: int
    step: int
    loader: int
    number: int  #: of the pass over the loader, from 1 on
    batch: int  #: in this pass, from 0 on
    indices: list[int] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)  #: fingerprints of the first tensor's examples
    targets: list[int] = field(default_factory=list)  #: and of all other tensors'
    drawn: dict[str, int] = field(
        default_factory=dict
    )  #: torch, numpy, python -> digest of the generator's state afterwards, if it drew while the batch was made
    seeded: Place | None = None  #: where a seed, always the same one, was set while it was made
    generators: list[Place] = field(
        default_factory=list
    )  #: of the second pass's first batch: lines that ran and gave a generator a seed
    stored: bool = False  #: in that case: the data set holds its examples, what is drawn alters them


@dataclass(slots=True)
class Wrapper:
    """A DistributedDataParallel, looked at after two steps."""

    processes: int
    rank: int
    place: Place | None = None  #: where it was constructed
    forwards: int = 0  #: of the wrapper, with gradients
    bypassed: int = 0  #: forwards of what it wraps that went past it and were trained on
    bypass: Place | None = None  #: where the first of these was called
    compared: int = 0  #: processes whose parameters were compared with those of this one
    drift: dict[str, float] = field(
        default_factory=dict
    )  #: parameter -> relative difference, where there is one


@dataclass(slots=True)
class Edge:
    """The argument of a log, root or division behind a loss, read from the graph of a sampled step."""

    step: int
    op: int  #: index of the operation as it was traced in a deep step
    argument: Stats


@dataclass(slots=True)
class Birth:
    """The first number of a run that is not finite."""

    step: int
    kind: str  #: input, target, data (one of these two), forward, loss, gradient, parameter
    name: str = ""  #: operation or node, parameter, or the variable that holds the data
    op: int = -1
    module: int = -1
    place: Place | None = None
    inputs: list[Stats] = field(default_factory=list)  #: of the operation that made it
    order: int = 0
    shape: tuple[int, ...] = ()  #: of the data, where kind is input, target or data
    loader: int = -1  #: uid of the loader that gave the latest batch
    batch: int = -1  #: number of that batch in its pass


@dataclass(slots=True)
class Kept:
    """A variable of the user that keeps the graphs of past steps alive; looked for when there are several of them."""

    order: int
    step: int
    graphs: int = 0  #: steps, at least three ago, whose graph is still alive after garbage was collected
    steps: int = 0  #: steps that could have left one
    name: str = ""  #: "losses", "self.history['loss']", "" if it was not found
    kind: str = ""  #: class of its value: Tensor, list, ...
    tensors: int = 0  #: number of tensors in it that hold such a graph
    scalar: bool = False  #: they are single numbers
    place: Place | None = None  #: first line of the function, or of the file, in which it is found


@dataclass(slots=True)
class Crash:
    kind: str  #: class of the exception
    message: str
    place: Place | None = None
    module: int = -1  #: innermost module that was running
    shapes: list[tuple[int, ...]] = field(default_factory=list)  #: what it had received


@dataclass(slots=True)
class Observation:
    """All that was seen of one program."""

    script: str = ""
    torch: str = ""
    modules: list[Module] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    optimizers: list[Optimizer] = field(default_factory=list)
    loaders: list[Loader] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  #: number of each kind of event, and of "forward"
    forwards: list[Forward] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    intakes: list[Intake] = field(default_factory=list)
    backwards: list[Backward] = field(default_factory=list)  #: of deep and sampled steps
    backward_count: int = 0
    steps: list[Step] = field(default_factory=list)  #: of deep and sampled steps
    step_count: int = 0
    evaluations: list[Evaluation] = field(default_factory=list)
    trained: list[TrainedBatch] = field(default_factory=list)
    passes: list[EvaluationPass] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    pairings: list[Pairing] = field(default_factory=list)
    totals: list[Totals] = field(default_factory=list)  #: as of the latest end of an evaluation
    curve: list[tuple[int, float]] = field(default_factory=list)
    spikes: list[tuple[int, float, float]] = field(default_factory=list)
    glances: list[tuple[int, float]] = field(default_factory=list)
    outliers: list[Step] = field(default_factory=list)  #: steps picked for their gradient: no sample
    births: list[Birth] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    crash: Crash | None = None
    moments: dict[str, int] = field(default_factory=dict)  #: moment -> step at which it came
    seconds: float = 0.0
    training_seconds: float = 0.0  #: from the first backward to the last
    generators: dict[str, dict[str, bool]] = field(
        default_factory=dict
    )  #: torch, numpy, python -> seeded, drawn
    ended: str = ""  #: "", end, stopped, signal, exit, crash
    accelerator: str = ""  #: cuda or mps, where one could be used
    wrappers: list[Wrapper] = field(default_factory=list)
    hash_seed: str = (
        ""  #: PYTHONHASHSEED of the process, "" if the order of sets of strings changes from run to run
    )
    blind: list[str] = field(default_factory=list)  #: what could not be observed, and why

    # -- looking things up ---------------------------------------------------------------------------------------

    def made(self, operand: Operand) -> Op | None:
        """Returns the operation that made an operand, None if it was not seen."""
        return self.ops[operand.op] if operand.op >= 0 else None

    def source(self, operand: Operand) -> Op | None:
        """Returns the operation that really made an operand: views, copies, casts and dropout are looked through."""
        op = self.made(operand)
        while op is not None and op.name in PASSIVE and op.inputs:
            op = self.made(op.inputs[0])
        return op

    def squashes(self, op: Op) -> str:
        """Returns "sigmoid" or "tanh" if an operation is one, also a sigmoid that is written out; else ""."""
        if op.name in ("sigmoid", "tanh"):
            return op.name
        if (op.name == "rdiv" and op.options.get("other") == 1) or op.name == "reciprocal":
            below = self.made(op.inputs[0]) if op.inputs else None
            if below is not None and below.name == "add" and below.options.get("other") == 1:
                raised = self.made(below.inputs[0]) if below.inputs else None
                return "sigmoid" if raised is not None and raised.name == "exp" else ""
        return ""

    def ancestors(self, op: Op, *, gradient: bool = False) -> Iterator[Op]:
        """Yields all operations behind one, nearest first; with `gradient` only along the graph."""
        seen = {op.index}
        queue = [op]
        while queue:
            nearest = queue.pop(0)
            for operand in nearest.inputs:
                if operand.op >= 0 and operand.op not in seen and (operand.grad or not gradient):
                    seen.add(operand.op)
                    queue.append(self.ops[operand.op])
                    yield self.ops[operand.op]

    def loss_ops(self) -> Iterator[tuple[Loss, Op]]:
        """Yields the deep loss calls that train: those whose result takes part in a graph (or crashed before it could)."""
        for loss in self.losses:
            if loss.op >= 0 and loss.grad_enabled and (loss.prediction_grad or loss.target_grad):
                yield loss, self.ops[loss.op]

    def operand(self, op: Op, *positions: str) -> Operand | None:
        """Returns the operand in the first of these positions that is there."""
        return next((entry for name in positions for entry in op.inputs if entry.position == name), None)

    def layer_name(self, module: int) -> str:
        """Returns the qualified name of a module, "" for -1."""
        return self.modules[module].name if module >= 0 else ""

    def where(self, op: Op) -> Place | None:
        """Returns the line where an operation is written.

        That is where the layer was constructed if a layer of PyTorch ran it, else the line of the call.
        """
        if op.module >= 0 and self.modules[op.module].torch and self.modules[op.module].children == 0:
            return self.modules[op.module].place or op.place
        return op.place

    def optimized(self) -> set[int]:
        """Returns the uids of all parameters that some optimizer holds."""
        return {uid for optimizer in self.optimizers for uid in optimizer.parameters}

    def of_kind(self, *kinds: str) -> Iterator[Event]:
        """Yields the events of these kinds."""
        return (event for event in self.events if event.kind in kinds)

    def modal(self) -> list[Module]:
        """Returns the layers that act differently in training and in evaluation: dropout (p > 0), batch norm."""
        return [module for module in self.modules if module.torch and is_modal(module.cls, module.config)]

    # -- to JSON and back ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Returns plain dictionaries and lists; numbers that are not finite stay floats (Python's JSON reads NaN)."""
        return _plain(self)

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> Observation:
        """Returns the observation that `to_dict` was taken from."""
        return _record(Observation, entries)


#: Operations that hand values on: what stands before one of them still adjoins what stands behind it.
PASSIVE = frozenset(
    [
        "view",
        "view_as",
        "reshape",
        "reshape_as",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "contiguous",
        "clone",
        "to",
        "type",
        "type_as",
        "float",
        "double",
        "half",
        "bfloat16",
        "cpu",
        "cuda",
        "transpose",
        "permute",
        "movedim",
        "swapaxes",
        "t",
        "T",
        "mT",
        "getitem",
        "select",
        "narrow",
        "index_select",
        "dropout",
        "alpha_dropout",
        "requires_grad_",
        "identity",
        "chunk",
        "split",
        "unbind",
        "expand",
        "expand_as",
        "detach_none",
        "masked_select",
        "swapdims",
        "moveaxis",
        "index",
        "take_along_dim",
    ]
)


def straight(op: Op) -> tuple[float, float] | None:
    """Returns (a, b) if what an operation gives is a * its operand + b, with plain numbers; None for all others."""
    if op.name == "neg":
        return -1.0, 0.0
    other = op.options.get("other")
    if len(op.inputs) != 1 or isinstance(other, bool) or not isinstance(other, (int, float)) or not other:
        return None
    if "alpha" in op.options or "rounding_mode" in op.options:
        return None
    lines = {
        "mul": (other, 0.0),
        "div": (1 / other, 0.0),
        "add": (1.0, other),
        "sub": (1.0, -other),
        "rsub": (-1.0, other),
    }
    return lines.get(op.name)


#: Names in `Loss.function` of losses that compare numbers with numbers (here, since rules must not import torch).
REGRESSION_LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")


def is_modal(cls: str, config: dict[str, Any]) -> bool:
    """Returns whether a layer acts differently in training and in evaluation.

    >>> is_modal("Dropout", {"p": 0.5}), is_modal("Dropout", {"p": 0.0}), is_modal("Linear", {})
    (True, False, False)
    """
    if "Dropout" in cls:
        return bool(config.get("p", 1.0))
    return "BatchNorm" in cls and config.get("track_running_stats", True) is not False


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _record(kind: Any, value: Any) -> Any:
    """Builds a value of type `kind` from what JSON gives."""
    if value is None or kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _record(next(entry for entry in inner if entry is not type(None)), value)
    if origin is list:
        return [_record(inner[0], entry) for entry in value]
    if origin is dict:
        return {key: _record(inner[1], entry) for key, entry in value.items()}
    if origin is tuple:
        return tuple(value)
    if isinstance(kind, type) and issubclass(kind, tuple):
        return kind(*value)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _record(hints[name], entry) for name, entry in value.items() if name in hints})
    return value


_HINTS: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def places(entries: Iterable[Place | None]) -> list[Place]:
    """Returns the distinct places in their order."""
    return list(dict.fromkeys(entry for entry in entries if entry is not None))

"""Watches a running program and writes an Observation, without a trace in the program.

Three levels of watching, changed only at an optimizer's step, at the beginning of an evaluation and at its end:

* deep: a TorchFunctionMode (trace.py) sees every torch function; global forward hooks see every layer. The first three
  steps, the first two of an optimizer that comes later, and the first batches of the first evaluations.
* sampled: global forward hooks, and PyTorch's loss functions are wrapped. Eight of the steps to 20, then one in fifty
  (after step 100 fewer where steps are so short that this would cost more than 0.4 %), and some whenever layers are made
  while training goes on.
* idle: only a handful of lines around backward, step, zero_grad and next(loader): a counter, the loss's value (on a CPU),
  a token in the graph's last node that dies with the graph; to step 100 now and then the norm of the gradient. Where that
  stands out, the step that uses it is sampled.

What belongs to the watched program is never kept: tensors and modules are known by weak references and numbers.
"""

from __future__ import annotations

import gc
import linecache
import math
import os
import random
import sys
import time
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as nn_module
from torch.nn.parameter import is_lazy
from torch.optim import optimizer as torch_optimizer

from netwright.examine import holders, measure
from netwright.examine.examination import HASH_SEED, StopExamination
from netwright.examine.observation import (
    PASSIVE,
    Backward,
    Birth,
    Crash,
    Edge,
    Evaluation,
    Event,
    Forward,
    Intake,
    Kept,
    Layer,
    Loader,
    Loss,
    Module,
    Observation,
    Op,
    Optimizer,
    Parameter,
    Place,
    Step,
    is_modal,
    straight,
)
from netwright.examine.pairing import Pairs
from netwright.examine.patches import Patches
from netwright.examine.places import FOREIGN, OPTIM, USER, Places, variables
from netwright.examine.ranks import Ranks
from netwright.examine.set_orders import set_orders
from netwright.examine.streams import (
    BATCHES_WATCHED,
    PASSES_WATCHED,
    WORKER_BATCHES,
    WORKER_PASSES,
    LineWatch,
    Streams,
    given,
)
from netwright.examine.trace import Trace

IDLE, SAMPLED, DEEP = range(3)
DEEP_STEPS = 3
DEEP_BACKWARDS = 40  # a program that accumulates gradients over more than this is not traced further
SAMPLED_STEPS = 20
EARLY = frozenset((3, 4, 5, 6, 8, 11, 15, 19))
EVERY = 50
SHARE = 0.004  # of the time after step 100 that may go into sampled steps; what costs more is left out
MOST_EVENTS = 400
MOST_IDLE_EVENTS = 64  # of one kind; later ones are only counted while idle
MOST_RECORDS = 4_000
DEEP_EVALUATIONS = 3  # per place that begins one
DEEP_EVALUATION_BATCHES = 3
MOST_EXAMPLES = 20_000
MOST_SPIKES = 32
GLANCE = 4  # of the idle backwards to the hundredth, one in so many has its gradient measured
MOST_RENEWALS = 4  # times that new parameters in a running training are followed for three steps
MOST_ALIVE = 4  # graphs of steps that are over, before it is asked who keeps them
MOST_INTAKES = 60  # of one layer
EARLY_INTAKES = 6  # of one layer in the first twenty steps

COLLECTIVES = (
    "all_reduce", "reduce", "all_gather", "gather", "all_gather_into_tensor", "all_gather_object", "gather_object",
    "all_reduce_coalesced", "all_gather_coalesced", "reduce_scatter", "reduce_scatter_tensor", "all_to_all", "send", "isend",
)  # fmt: skip

_compiling: Callable[[], bool] = torch.compiler.is_compiling


class _Token:
    """Lies in a graph's last node and dies with it."""

    __slots__ = ("__weakref__",)


class Observer:
    """Writes `observation` between `start` and `finish`."""

    def __init__(
        self,
        *,
        script: str = "",
        roots: tuple[str, ...] = (),
        on_moment: Callable[[str, Observation], None] | None = None,
        stop_steps: int | None = None,
    ) -> None:
        self.observation = Observation(script=script, torch=str(torch.__version__))
        self.places = Places(roots)
        self.on_moment = on_moment
        self.stop_steps = stop_steps
        self.recording = False
        self.busy = 0  # inside the watching itself: what it calls is not traced
        self.muted = 0
        self.level = IDLE
        self.stack: list[int] = []
        self.trace = Trace(self)
        self.streams = Streams(self)
        self.pairs = Pairs(self)
        self.broken: dict[str, str] = {}
        self.pid = os.getpid()
        self._patches = Patches()
        self._loss_patches = Patches()
        self._handles: list[Any] = []
        self._hooks: list[Any] = []
        self._order = 0
        self._modules: dict[int, tuple[weakref.ref[nn.Module], int]] = {}
        self._built: dict[int, tuple[weakref.ref[nn.Module], Place | None]] = {}
        self._built_for: dict[int, Place | None] = {}  # where the function that makes it was called
        self._made: dict[
            int, tuple[weakref.ref[Tensor], Place | None]
        ] = {}  # parameters, where they were made
        self._parameters: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._live: list[tuple[int, weakref.ref[Tensor]]] = []  # trainable ones, for measuring
        self._optimizers: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._loaders: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._loader_of_iterator: dict[int, int] = {}
        self._indices: dict[int, set[int]] = {}
        self._tokens: deque[tuple[int, weakref.ref[_Token]]] = deque()
        self._backward_depth = 0
        self._step_depth = 0
        self._backwards_at: dict[int, int] = {}
        self._deep_until = DEEP_STEPS
        self._deep_backwards = DEEP_BACKWARDS
        self._sampled_until = self._renewals = 0
        self._used: dict[int, tuple[int, int]] = {}
        self._piled: set[int] = set()
        self._measured: set[int] = set()
        self._elders: list[weakref.ref[Any]] = []
        self._sums: dict[int, float] = {}
        self._stepped = True
        self._pending: list[tuple[int, Tensor, float]] = []
        self._pending_step: Step | None = None
        self._evaluation: Evaluation | None = None
        self._evaluation_hint = self._evaluated = False
        self._hints: dict[Any, int] = {}
        self._train_depth = 0
        self._forward: Forward | None = None
        self._last_forward: dict[int, Forward] = {}
        self._layers_seen: set[int] = set()
        self._after_function: dict[
            int, tuple[int, str, float, float]
        ] = {}  # uid of a layer -> index of the activation function before it, its word, and the line laid through it
        self._intakes: dict[Any, int] = {}
        self._examples = {True: 0, False: 0}
        self._last_loader = -1
        self._compiled = False
        self._stance: Any = None
        self._fast_depth = 0
        self._start = time.perf_counter()
        self._first_backward = 0.0
        self._next_moments = ["forward", "backward", "step", "2", "100", "epoch"]
        self._shapes: list[tuple[int, ...]] = []
        self._random_seen: dict[str, Any] = {}
        self._random_at_index: Any = None
        self._fetching = False
        self._random_drawn: dict[str, bool] = {}
        self._nan_checked = False
        self._spent = 0.0
        self._hundredth: tuple[float, float] | None = None
        self._late_clip = False
        self._holder_at = 0
        self._usual_loss = 0.0
        self._glance: tuple[int, float, bool] | None = None
        self._usual_norm = 0.0  # of the gradient, in the steps that were sampled so far
        self._picked = False  # the step under way is looked at because its gradient stands out
        self._quiet_limit = (
            0.0  # a backward whose loss is smaller is only counted; 0 where more is to be known
        )
        self._quiet_values: list[float] = []  # losses of the backwards since
        self._quiet_since = 0
        self._calm = False
        self._grad_switched = False  # the program's own code uses torch.set_grad_enabled
        self._by_hand: dict[int, tuple[Tensor, Tensor]] = {}
        self._schedulers: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._traced_nodes: list[tuple[str, int]] = []
        self._edged: list[tuple[int, str, int]] = []
        self._fetched: dict[int, float] = {}
        self.ranks = Ranks(self)
        self.half = False  # float16 took part in a graph

    # -- beginning and end -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to watch."""
        self._random_seen = _random_states()
        self.observation.accelerator = _accelerator()
        self._patch()
        self._known_optimizers()
        self._start = time.perf_counter()
        self.recording = True
        self._set_level(DEEP)
        self._moment("source")
        _WATCHING.append(weakref.ref(self))

    def finish(self, ended: str, crash: Crash | None = None) -> Observation:
        """Ends the watching, puts everything back and returns the observation."""
        observation = self.observation
        if not self.recording:
            return observation
        self._wake()
        self.guard(self.streams.close, ended in ("end", "exit"))
        if self._evaluation is not None:
            self._evaluation.complete = ended in ("end", "exit")
        observation.seconds = time.perf_counter() - self._start
        observation.ended, observation.crash = ended, crash
        self.guard(self._random_at_end)
        self.guard(self.ranks.look)
        self.guard(self.pairs.judge)
        self.disarm()
        observation.moments.setdefault("end", observation.step_count)
        return observation

    def disarm(self) -> None:
        """Puts everything back without another look (also called in forked children)."""
        self.recording = False
        self._set_level(IDLE)
        self._patches.undo()
        self.streams.disarm()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pending.clear()
        self.trace.stand(False)
        self.trace.forget()
        for known in (
            self._modules,
            self._built,
            self._made,
            self._parameters,
            self._optimizers,
            self._loaders,
        ):
            known.clear()
        self._live.clear()
        self._tokens.clear()
        _WATCHING[:] = [entry for entry in _WATCHING if entry() is not self]

    def crashed(self, error: BaseException) -> Crash:
        """Returns what is known of the moment at which the program raised `error`."""
        place, trail = None, error.__traceback__
        while trail is not None:
            if self.places.kind(trail.tb_frame.f_code) == USER:
                code = trail.tb_frame.f_code
                place = Place(self.places.shown(code.co_filename), trail.tb_lineno, code.co_name)
            trail = trail.tb_next
        module = self.stack[-1] if self.stack else -1
        return Crash(
            type(error).__name__, str(error)[:500], place, module, list(self._shapes) if module >= 0 else []
        )

    def guard(self, call: Callable[..., Any], *args: Any) -> Any:
        """Returns what a part of the watching returns; its own failure is noted and never reaches the program."""
        self.busy += 1
        began = time.perf_counter() if self.busy == 1 else 0.0
        try:
            if self.trace.standing and self.busy == 1:
                with torch._C.DisableTorchFunction():
                    return call(*args)
            return call(*args)
        except StopExamination:
            raise
        except Exception as error:
            name = getattr(call, "__name__", "observer")
            self.broken.setdefault(name, f"{type(error).__name__}: {error}"[:200])
            return None
        finally:
            self.busy -= 1
            if not self.busy:
                self._spent += time.perf_counter() - began

    def blinded(self, why: str) -> None:
        """Notes once what could not be observed."""
        if why not in self.observation.blind:
            self.observation.blind.append(why)

    def tick(self) -> int:
        self._order += 1
        return self._order

    def event(self, kind: str, place: Place | None, **detail: Any) -> None:
        counts = self.observation.counts
        counts[kind] = count = counts.get(kind, 0) + 1
        if count <= MOST_EVENTS:
            self.observation.events.append(
                Event(self.tick(), kind, self.observation.step_count, place, detail)
            )

    # -- levels ----------------------------------------------------------------------------------------------------

    def _scheduled(self) -> int:
        step = self.observation.step_count
        if step < self._deep_until and self.observation.backward_count < self._deep_backwards:
            return DEEP
        if step < SAMPLED_STEPS and self.observation.backward_count < 2 * DEEP_BACKWARDS:
            return SAMPLED if step in EARLY or step < max(DEEP_STEPS, self._sampled_until) else IDLE
        if step < self._sampled_until:
            return SAMPLED
        if step >= SAMPLED_STEPS and step % EVERY == 0 and (step <= 100 or self._affordable()):
            return SAMPLED
        return IDLE

    def _affordable(self) -> bool:
        """Returns whether watching has taken less than its share of the time since step 100."""
        now = time.perf_counter()
        if self._hundredth is None:
            self._hundredth = (now, self._spent)
        began, spent = self._hundredth
        return self._spent - spent <= SHARE * (now - began)

    def _set_level(self, level: int) -> None:
        if level == self.level:
            return
        before, self.level = self.level, level
        if self._quiet_limit:
            self._wake()
        if (level >= SAMPLED) != (before >= SAMPLED):
            self._toggle_hooks(level >= SAMPLED)
            self._toggle_stance(level >= SAMPLED)
        if (level == SAMPLED) != (before == SAMPLED):
            if level == SAMPLED:
                self._patch_losses()
            else:
                self._loss_patches.undo()
        self._set_trace()
        self._layers_seen.clear()
        self.trace.new_lap()

    def _toggle_hooks(self, on: bool) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if on:
            self._hooks.append(torch_optimizer.register_optimizer_step_pre_hook(self._before_step))
            self._hooks.append(nn_module.register_module_forward_pre_hook(self._before_module))
            self._hooks.append(nn_module.register_module_forward_hook(self._after_module))

    def _toggle_stance(self, on: bool) -> None:
        # Compiled functions run eagerly while they are watched closely; afterwards they compile as if nothing had been.
        if on and self._compiled and "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            self._stance = torch.compiler.set_stance("force_eager")
            self.guard(self._stance.__enter__)
        elif not on and self._stance is not None:
            self.guard(self._stance.__exit__, None, None, None)
            self._stance = None

    def _set_trace(self) -> None:
        self.trace.stand(self.level == DEEP and not self._fast_depth)

    def _mode_off(self) -> None:
        """Mutes the trace for a while: inside optimizers, backward, data loaders."""
        self.muted += 1

    def fetching_alone(self) -> bool:
        """Returns whether the trace is muted only because one of the first batches of a loader is being made."""
        return self._fetching and self.muted == 1 and not self.busy and self.recording

    def _mode_on(self) -> None:
        self.muted = max(0, self.muted - 1)

    # -- moments ---------------------------------------------------------------------------------------------------

    def _moment(self, name: str) -> None:
        observation = self.observation
        observation.moments.setdefault(name, observation.step_count)
        observation.seconds = time.perf_counter() - self._start
        if name in self._next_moments:
            self._next_moments.remove(name)
        if name == "epoch":
            self.guard(self.pairs.judge)
        if name == "100" and not self._grad_switched:
            self._patches.unwrap(torch.set_grad_enabled, "__init__")  # optimizers call it in each step
        if self.on_moment is not None:
            self.on_moment(name, observation)

    # -- patches ---------------------------------------------------------------------------------------------------

    def _patch(self) -> None:
        wrap = self._patches.wrap
        wrap(torch.autograd, "backward", self._around_backward)
        wrap(torch.autograd, "grad", lambda original: self._around(original, "grad"))
        wrap(nn.Module, "__init__", self._around_module_init)
        wrap(nn.Module, "train", self._around_train)
        wrap(nn.Module, "zero_grad", lambda original: self._around(original, "zero_grad"))
        wrap(torch_optimizer.Optimizer, "__init__", self._around_optimizer_init)
        wrap(torch_optimizer.Optimizer, "zero_grad", lambda original: self._around(original, "zero_grad"))
        for context in (torch.no_grad, torch.inference_mode):
            wrap(context, "__enter__", self._around_no_grad)
        wrap(torch.set_grad_enabled, "__init__", self._around_set_grad)
        wrap(torch, "compile", self._around_compile)
        clip = sys.modules.get("torch.nn.utils.clip_grad")
        for owner in filter(None, (clip, torch.nn.utils)):
            for name in ("clip_grad_norm_", "clip_grad_value_"):
                wrap(owner, name, self._around_clip)
        if clip is not None:  # for a name that the program imported before
            wrap(clip, "_clip_grads_with_norm_", self._around_clip)
        wrap(torch.amp.GradScaler, "unscale_", lambda original: self._around(original, "unscale"))
        wrap(torch.amp.GradScaler, "scale", lambda original: self._around(original, "scale"))
        wrap(torch.amp.GradScaler, "step", lambda original: self._around(original, "scaler_step"))
        for kind in vars(torch.optim.lr_scheduler).values():
            if isinstance(kind, type) and "step" in vars(kind) and kind is not torch_optimizer.Optimizer:
                wrap(kind, "step", self._around_scheduler)
        for name in ("LRScheduler", "ReduceLROnPlateau"):
            wrap(getattr(torch.optim.lr_scheduler, name), "__init__", self._around_scheduler_init)
        loader = sys.modules.get("torch.utils.data.dataloader")
        if loader is not None:
            wrap(loader.DataLoader, "__iter__", self._around_loader)
            wrap(loader.DataLoader, "__init__", self._around_loader_init)
            for kind in (loader._SingleProcessDataLoaderIter, loader._MultiProcessingDataLoaderIter):
                for base in kind.__mro__:
                    if "__next__" in vars(base) and not hasattr(vars(base)["__next__"], "__wrapped__"):
                        wrap(base, "__next__", self._around_next)
                    if "_next_index" in vars(base) and not hasattr(vars(base)["_next_index"], "__wrapped__"):
                        wrap(base, "_next_index", self._around_next_index)
        for owner, name in _seeders():
            wrap(owner, name, lambda original: self._around(original, "seed"))
        wrap(random.Random, "seed", lambda original: self._around_generator(original, 1))
        if "numpy" in sys.modules:
            wrap(
                sys.modules["numpy"].random,
                "default_rng",
                lambda original: self._around_generator(original, 0),
            )
        distributed = sys.modules.get("torch.distributed")
        for name in COLLECTIVES:
            if distributed is not None and hasattr(distributed, name):
                wrap(distributed, name, self._around_collective)
        self._handles.append(torch_optimizer.register_optimizer_step_post_hook(self._after_step))
        self._handles.append(nn_module.register_module_parameter_registration_hook(self._parameter_made))

    def _around(self, original: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not self.recording or self.muted or _compiling():
                if kind == "seed" and self._fetching and self.recording:
                    self.guard(self.streams.seed_inside, args)
                return original(*args, **kwargs)
            counts = self.observation.counts
            self.trace.settle()
            if kind == "zero_grad" and self.streams._ready:
                self.streams.cleared()
            if self.level == IDLE and counts.get(kind, 0) >= MOST_IDLE_EVENTS:
                counts[kind] += 1
                return original(*args, **kwargs)
            self.guard(self._called, kind, original, args)
            if kind == "seed":
                self.guard(self._random_drawn_before)
            self._mode_off()
            try:
                return original(*args, **kwargs)
            finally:
                self._mode_on()
                if kind == "seed":
                    self.guard(self._reseeded)

        return wrapped

    def _called(self, kind: str, original: Any, args: tuple[Any, ...]) -> None:
        counts = self.observation.counts
        if counts.get(kind, 0) >= MOST_EVENTS:
            counts[kind] += 1
            return
        detail: dict[str, Any] = {}
        if kind in ("scale", "unscale", "scaler_step") and self.level != IDLE:
            detail["enabled"] = bool(getattr(args[0], "_enabled", True))
            scale = getattr(args[0], "_scale", None)
            detail["scale"] = float(scale) if scale is not None else getattr(args[0], "_init_scale", 1.0)
        if kind == "zero_grad" and (known := self._optimizers.get(id(args[0]))) is not None:
            detail["optimizer"] = known[1]
        self.event(kind, self.places.here(3), function=getattr(original, "__name__", kind), **detail)
        if kind in ("seed", "zero_grad") and counts[kind] <= MOST_EVENTS:
            self.observation.events[-1].caller = self.places.both(3)[1]
        if kind == "seed" and counts[kind] <= MOST_EVENTS:
            self._expect_batch()

    def _around_generator(self, original: Callable[..., Any], at: int) -> Callable[..., Any]:
        """Around what seeds a generator of its own, not the one that all share; the seed is the argument number `at`."""

        def seeded(*args: Any, **kwargs: Any) -> Any:
            if self.recording and not self.muted and len(args) > at and isinstance(args[at], int):
                frame: Any = sys._getframe(1)
                frame = frame.f_back if at and frame.f_code.co_name == "__init__" else frame
                if frame is not None and self.places.kind(frame.f_code) == USER:
                    self.guard(self._generator_seeded)
            return original(*args, **kwargs)

        return seeded

    def _generator_seeded(self) -> None:
        counts = self.observation.counts
        if counts.get("generator", 0) >= MOST_IDLE_EVENTS:
            counts["generator"] += 1
            return
        place, caller = self.places.both(3)
        self.event("generator", place)
        self.observation.events[-1].caller = caller
        self._expect_batch()

    def _expect_batch(self) -> None:
        """Looks at the next batch even while idle: the order of the data may begin anew with it."""
        if self.level == IDLE and not self._step_depth:
            self._wake()
            self.streams.look(self.observation.step_count, wanted=True)

    # -- clipping --------------------------------------------------------------------------------------------------

    def _around_clip(self, original: Callable[..., Any]) -> Callable[..., Any]:
        inner = original.__name__ == "_clip_grads_with_norm_"

        def clip(*args: Any, **kwargs: Any) -> Any:
            if not self.recording or _compiling() or self.muted:
                return original(*args, **kwargs)
            if inner and sys._getframe(1).f_code.co_name != "clip_grad_norm_":
                return original(*args, **kwargs)
            counts = self.observation.counts
            if self.level == IDLE or counts.get("clip", 0) >= MOST_EVENTS:
                counts["clip"] = counts.get("clip", 0) + 1
            else:
                held: Any
                if args and isinstance(args[0], types.GeneratorType):  # can be read once only
                    held = list(args[0])
                    args = ((entry for entry in held), *args[1:])
                elif isinstance(kwargs.get("parameters"), types.GeneratorType):
                    held = list(kwargs["parameters"])
                    kwargs["parameters"] = (entry for entry in held)
                else:
                    held = args[0] if args else kwargs.get("parameters")
                self.guard(self._clipping, original.__name__, held, args, kwargs)
                del held
            self._mode_off()
            try:
                return original(*args, **kwargs)
            finally:
                self._mode_on()

        return clip

    def _clipping(self, name: str, held: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes what gradients a clipping finds: none, zeros, ones that a step has used already, or fresh ones."""
        observation = self.observation
        given = [held] if isinstance(held, Tensor) else held if isinstance(held, (list, tuple)) else []
        limit = args[1] if len(args) > 1 else kwargs.get("max_norm", kwargs.get("clip_value"))
        place = self.places.here(3)
        with_grad = [entry for entry in given if isinstance(entry, Tensor) and entry.grad is not None]
        sizes = measure.norms([entry.grad for entry in with_grad if entry.grad is not None])
        uids: set[int] = set()
        used = fresh = 0
        for entry in given:
            known = self._parameters.get(id(entry))
            if known is not None and known[0]() is entry:
                uids.add(known[1])
        for entry, size in zip(with_grad, sizes):
            known = self._parameters.get(id(entry))
            if size == 0 or entry.grad is None:
                continue
            if known is not None and self._used.get(known[1]) == (id(entry.grad), entry.grad._version):
                used += 1
            else:
                fresh += 1
        owners = [one.uid for one in observation.optimizers if uids & set(one.parameters)]
        waiting = max(
            (observation.backward_count - self._backwards_at.get(uid, 0) for uid in owners), default=0
        )
        self.event(
            "clip",
            place,
            function=name.strip("_").replace("clip_grads_with_norm", "clip_grad_norm") + "_",
            limit=float(limit) if isinstance(limit, (int, float, Tensor)) else None,
            given=len(given),
            empty=len(given) - used - fresh,
            used=used,
            fresh=fresh,
            norm=math.sqrt(sum(size * size for size in sizes)),
            parameters=sorted(uids)[:64],
            optimizers=owners,
            backwards=waiting,
        )
        if owners and not waiting and not self._late_clip and observation.step_count:
            self._late_clip = True  # a clipping that nothing went before: the rules look once more
            self._moment("step")

    # -- backward --------------------------------------------------------------------------------------------------

    def _around_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def backward(*args: Any, **kwargs: Any) -> Any:
            if (
                self._quiet_limit
                and args
                and type(loss := args[0]) is Tensor
                and loss.is_cpu
                and not loss.dim()
            ):
                value = loss.item()
                if -self._quiet_limit <= value <= self._quiet_limit:
                    self._quiet_values.append(value)
                    return original(*args, **kwargs)
            if self._quiet_limit:
                self._wake()
            if not self.recording or _compiling() or self._backward_depth:
                return original(*args, **kwargs)
            if self.level == IDLE and self._uneventful(args):
                self._backward_depth = 1
                try:
                    return original(*args, **kwargs)
                finally:
                    self._backward_depth = 0
            record = self.guard(self._before_backward, args, kwargs)
            self._backward_depth += 1
            self._mode_off()
            try:
                result = original(*args, **kwargs)
            except BaseException as error:
                if record is not None:
                    record.raised = f"{type(error).__name__}: {error}"[:300]
                raise
            finally:
                self._mode_on()
                self._backward_depth -= 1
            if self.recording and (
                record is not None or self.observation.backward_count in (self._deep_backwards, 100)
            ):
                self.guard(self._after_backward, record)
            if self._glance is not None:
                self.guard(self._glance_at, *self._glance)
            return result

        return backward

    def _glance_at(self, step: int, value: float, stands_out: bool) -> None:
        """Measures the gradient between samples; where it is far beyond the usual, the step that uses it is looked at."""
        self._glance = None
        grads = [entry.grad for _, entry in self._trainable() if entry.grad is not None]
        norm = math.sqrt(sum(size * size for size in measure.norms(grads)))
        self.observation.glances.append((step, norm))
        if not math.isfinite(norm):
            return
        if stands_out:
            self.observation.spikes.append((step, value, norm))
        elif norm > 30 * self._usual_norm > 0 and not self._step_depth:
            self._picked = True
            self._set_level(SAMPLED)

    def _uneventful(self, args: tuple[Any, ...]) -> bool:
        """Counts a backward of which nothing else is to be known; False if it wants a closer look, and is not counted."""
        self._calm = False
        observation, streams = self.observation, self.streams
        step, loss = observation.step_count, args[0] if args else None
        if step < 100 or observation.backward_count == 99 or self.trace.standing:
            return False
        if (
            self._evaluation is not None
            or self._evaluation_hint
            or streams.current is not None
            or streams._pending
        ):
            return False
        if type(loss) is not Tensor or not loss.is_cpu or loss.dim():
            return False
        value = loss.item()
        size = abs(value)
        if not size <= 5 * self._usual_loss:  # a jump, or not finite
            return False
        self._usual_loss += 0.1 * (size - self._usual_loss)
        if len(observation.curve) < 5_000 or observation.backward_count % 16 == 0:
            observation.curve.append((step, value))
        observation.backward_count += 1
        if self._last_loader >= 0:
            observation.loaders[self._last_loader].trained += 1
            self._last_loader = -1
        self._calm = True
        return True

    def _quieten(self) -> None:
        """Backwards are only counted from here on, and their losses kept: the way of most steps of a long run."""
        self._calm = False
        if (
            self._backward_depth
            or self._step_depth
            or self._evaluation_hint
            or self.streams._handle is not None
            or self.streams._pending
        ):
            return
        self._quiet_since = self.observation.step_count
        self._quiet_limit = 5 * self._usual_loss

    def _wake(self) -> None:
        """Writes down what was counted since `_quieten`."""
        values, observation = self._quiet_values, self.observation
        self._quiet_limit, self._quiet_values = 0.0, []
        if not values:
            return
        share = max(1, observation.step_count - self._quiet_since) / len(values)
        for number, value in enumerate(values):
            self._usual_loss += 0.1 * (abs(value) - self._usual_loss)
            if len(observation.curve) < 5_000 or (observation.backward_count + number) % 16 == 0:
                observation.curve.append((self._quiet_since + int(number * share), value))
        observation.backward_count += len(values)
        if self._last_loader >= 0:
            observation.loaders[self._last_loader].trained += len(values)
            self._last_loader = -1

    def _before_backward(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Backward | None:
        observation = self.observation
        now = time.perf_counter()
        self._first_backward = self._first_backward or now
        observation.training_seconds = now - self._first_backward
        step = observation.step_count
        roots = args[0] if args else kwargs.get("tensors")
        loss = roots if isinstance(roots, Tensor) else measure.first_tensor(roots)
        value = None
        if loss is not None:
            node = _node(loss)
            if loss.is_cpu and loss.dim() == 0 and type(loss) is Tensor:
                value = loss.item()
                curve = observation.curve
                if len(curve) < 5_000 or observation.backward_count % 16 == 0:
                    curve.append((step, value))
                size = abs(value)
                stands_out = size > 5 * self._usual_loss and len(observation.spikes) < MOST_SPIKES
                count = observation.backward_count  # not steps: a program without an optimizer makes none
                due = count < SAMPLED_STEPS or (count < 100 and count % GLANCE == 0)
                if self.level == IDLE and (due or stands_out):
                    self._glance = (step, value, stands_out)
                    if self._edged and node is not None:
                        self.guard(self._read_edges, loss)
                self._usual_loss += 0.1 * (size - self._usual_loss)
                if not math.isfinite(value) and not self._nan_checked:
                    self._nan_checked = True
                    self.guard(self._birth, loss)
                    self.guard(self._moment, "the step it happens")
            if node is not None and (step < 100 or self.level != IDLE or not step % 8):
                token = _Token()
                node.metadata["netwright"] = token
                self._tokens.append((step, weakref.ref(token)))
                if len(self._tokens) > 4_000:
                    self._tokens.popleft()
                if self.level != IDLE:
                    self.guard(self._mark_base, node, step)
        if not observation.backward_count:
            self.guard(self._set_orders)
        observation.backward_count += 1
        if self._last_loader >= 0:
            observation.loaders[self._last_loader].trained += 1
            self._last_loader = -1
        self.streams.backward()
        self.pairs.backward()
        if self._evaluation is not None or self._evaluation_hint:
            self._end_evaluation()
        if self.level == IDLE or len(observation.backwards) > MOST_RECORDS:
            return None
        if self.level == DEEP and value is None and loss is not None and loss.dim() == 0:
            numbers = measure.stats(loss)
            value = numbers.min if numbers else None
        record = Backward(self.tick(), step, value=value, inside_step=self._step_depth > 0)
        observation.backwards.append(record)
        self._fill_backward(record, loss, args, kwargs)
        if "forward" in self._next_moments:
            self._moment("forward")
        return record

    def _fill_backward(
        self, record: Backward, loss: Tensor | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        record.place = self.places.here(4)
        record.retain_graph = bool(kwargs.get("retain_graph") or (args[2] if len(args) > 2 else False))
        record.create_graph = bool(kwargs.get("create_graph") or (args[3] if len(args) > 3 else False))
        if loss is not None:
            record.root = loss.grad_fn.name() if loss.grad_fn is not None else ""
            record.leaf = loss.grad_fn is None
            if self.level == DEEP and loss.grad_fn is not None:
                nodes = _nodes(loss.grad_fn)
                self._traced_nodes = [(node.name(), node.metadata.get("netwright op", -1)) for node in nodes]
                record.shares = _walked(nodes, record.order)
                self._edged = [
                    (number, name, op)
                    for number, (name, op) in enumerate(self._traced_nodes)
                    if op >= 0 and name in measure.EDGED_NODES
                ]
            elif self._edged and loss.grad_fn is not None:
                self.guard(self._read_edges, loss)
            entry = self.trace.makers.get(id(loss))
            if self.level == DEEP and entry is not None and entry[0]() is loss:
                record.op = entry[1]
        for forward in self._last_forward.values():
            if forward.grad_enabled:
                forward.followed = "backward"
        self._last_forward.clear()
        record.alive = self._alive()
        if record.alive >= max(MOST_ALIVE, self._holder_at):
            self.guard(self._find_holder, record)
        record.sampled = True
        self._measure_parameters()
        held = [(uid, grad) for uid, parameter in self._trainable() if (grad := parameter.grad) is not None]
        sizes = measure.norms([grad for _, grad in held])
        nonzero = {uid for (uid, _), size in zip(held, sizes) if size != 0}
        for uid, grad in held:
            if uid not in nonzero:
                self._piled.discard(uid)
            elif self._used.get(uid) == (id(grad), grad._version):
                self._piled.add(uid)
        self._piled &= nonzero
        record.before, record.piled = len(nonzero), len(self._piled)
        if self.level == DEEP:
            sums = self._weight_sums()
            moved = any(value != self._sums.get(uid, value) for uid, value in sums.items())
            record.moved = moved and not self._stepped
            if record.moved and self._by_hand:
                record.along = self._direction()
            self._by_hand.clear()
            self._sums, self._stepped = sums, False

    def _read_edges(self, loss: Tensor) -> None:
        """Measures what logs, roots and divisions got, in a sampled step whose graph is the one that was traced."""
        nodes, edges = _nodes(loss.grad_fn), self.observation.edges
        if len(nodes) != len(self._traced_nodes) or len(edges) >= MOST_EVENTS:
            return
        for number, name, op in self._edged[:32]:
            if nodes[number].name() == name:
                numbers = measure.edge(name, _attribute(nodes[number], measure.EDGED_NODES[name]))
                if numbers is not None:
                    edges.append(Edge(self.observation.step_count, op, numbers))

    def _measure_parameters(self) -> None:
        """Measures each parameter before its first backward: it may be initialised again after it was first seen."""
        for uid, parameter in self._trainable():
            if uid not in self._measured:
                self._measured.add(uid)
                known = self.observation.parameters[uid]
                known.rows_equal = measure.rows_equal(parameter)
                known.stats = measure.stats(parameter)

    def _after_backward(self, record: Backward | None) -> None:
        observation = self.observation
        if record is not None:
            self._measure_gradients(record)
            if "backward" in self._next_moments:
                self._moment("backward")
            if self._evaluated:
                self._evaluated = False
                self._moment("the next step")
        if observation.backward_count == 100 and "100" in self._next_moments and observation.step_count < 100:
            self._moment("100")
        if self.level == DEEP and observation.backward_count >= self._deep_backwards and not self._step_depth:
            self._set_level(self._scheduled())

    def _direction(self) -> float | None:
        """Returns how the change of the parameters since the last backward lies to the gradients of then."""
        pairs = []
        for uid, parameter in self._trainable():
            values = measure.plain(parameter)
            if uid in self._by_hand and values is not None:
                before, grad = self._by_hand[uid]
                pairs.append((measure.sample(values, 4096) - before, grad))
        return _cosine(pairs)

    def _measure_gradients(self, record: Backward) -> None:
        observation = self.observation
        if self._elders:
            self._adopt_elders()
        living = list(self._trainable())
        held = [(uid, grad) for uid, parameter in living if (grad := parameter.grad) is not None]
        sizes = measure.norms([grad for _, grad in held])
        if self.level == DEEP and not observation.step_count and not self._step_depth:
            for uid, parameter in living[:64]:  # copies, for programs that change their weights themselves
                values, slope = measure.plain(parameter), measure.plain(parameter.grad)
                if values is not None and slope is not None and values.is_floating_point():
                    self._by_hand[uid] = (
                        measure.sample(values, 4096).clone(),
                        measure.sample(slope, 4096).clone(),
                    )
        for (uid, grad), size in zip(held, sizes):
            record.gradients[str(uid)] = size
            known = observation.parameters[uid]
            if known.rows_equal and known.gradient_rows_equal is None and size > 0:
                known.gradient_rows_equal = measure.rows_close(grad)
            if not math.isfinite(size) and not self._nan_checked and not self.observation.counts.get("scale"):
                self._nan_checked = True
                birth = Birth(
                    observation.step_count,
                    "gradient",
                    known.name,
                    order=self.tick(),
                    module=known.module,
                )
                birth.place = record.place
                observation.births.append(birth)
                self._moment("the step it happens")
        record.missing = [
            uid for uid, parameter in living if parameter.grad is None and parameter.requires_grad
        ]
        if self.half:
            record.half = True
            numbers = measure.underflow([grad for _, grad in held])
            record.underflow, record.subnormal, record.vanished = numbers

    def _trainable(self) -> Iterator[tuple[int, Tensor]]:
        for uid, reference in self._live:
            parameter = reference()
            if parameter is not None:
                yield uid, parameter

    def _weight_sums(self) -> dict[int, float]:
        living = [
            (uid, measure.sample(values, 4096))
            for uid, entry in self._trainable()
            if (values := measure.plain(entry)) is not None
        ]
        return {uid: size for (uid, _), size in zip(living, measure.norms([entry for _, entry in living]))}

    def _alive(self) -> int:
        step = self.observation.step_count
        while self._tokens and self._tokens[0][1]() is None:
            self._tokens.popleft()
        return len({born for born, token in self._tokens if born <= step - 3 and token() is not None})

    def _mark_base(self, node: Any, step: int) -> None:
        """Puts a token at the bottom of the graph too: a stored output keeps that alive, and not the loss."""
        token = _Token()
        holders.base_of(node).metadata["netwright base"] = token
        self._tokens.append((step, weakref.ref(token)))

    def _find_holder(self, record: Backward) -> None:
        """Looks for the variable that keeps the graphs of past steps, once it is clear that they are more than garbage."""
        self._holder_at = 2 * record.alive
        if not gc.isenabled():
            return
        gc.collect()
        record.alive = self._alive()
        if record.alive < MOST_ALIVE:
            return
        step = self.observation.step_count
        old = {
            id(token) for born, entry in self._tokens if born <= step - 3 and (token := entry()) is not None
        }
        frames: list[Any] = []
        frame = sys._getframe(1)
        while frame.f_back is not None and len(frames) < 12:
            frame = frame.f_back
            if self.places.kind(frame.f_code) == USER:
                frames.append(frame)
        found = holders.find_holder(frames, old)
        frames.clear()
        kept = Kept(self.tick(), step, record.alive, step - 2)
        if found is not None:
            code = found.code
            kept.name, kept.kind, kept.tensors, kept.scalar = (
                found.name,
                found.kind,
                found.tensors,
                found.scalar,
            )
            whole = code.co_name == "<module>" or "." in found.name
            kept.place = Place(
                self.places.shown(code.co_filename), 1 if whole else code.co_firstlineno, code.co_name
            )
        self.observation.kept.append(kept)

    def _birth(self, loss: Tensor) -> None:
        """Finds where the first number that is not finite came from, with the graph behind the loss still there."""
        observation = self.observation
        birth = Birth(observation.step_count, "loss", order=self.tick(), place=self.places.here(4))
        poisoned = [uid for uid, entry in self._trainable() if not _finite(entry)]
        early = next((op for op in self._lap() if op.stats and op.stats.finite < 1 and not _masked(op)), None)
        if poisoned:
            parameter = observation.parameters[poisoned[0]]
            birth.kind, birth.name, birth.module = "parameter", parameter.name, parameter.module
        elif early is not None:
            birth.kind, birth.name, birth.op, birth.module = "forward", early.name, early.index, early.module
            birth.place = early.place
            birth.inputs = [
                numbers for entry in early.inputs if (numbers := self._numbers(entry)) is not None
            ]
            if any(entry.op < 0 and entry.stats and entry.stats.finite < 1 for entry in early.inputs):
                birth.kind = "input"
        elif loss.grad_fn is not None and not self._birth_in_data(birth, loss):
            self._birth_in_graph(birth, loss)
            if birth.kind == "loss":
                self._birth_in_variables(birth)
        birth.loader, birth.batch = self._batch()
        observation.births.append(birth)

    def _lap(self) -> Iterator[Op]:
        step = self.observation.step_count
        return (op for op in self.observation.ops if op.step == step)

    def _numbers(self, operand: Any) -> Any:
        if operand.stats is not None:
            return operand.stats
        return self.observation.ops[operand.op].stats if operand.op >= 0 else None

    def _birth_in_data(self, birth: Birth, loss: Tensor) -> bool:
        """Finds data that were not finite among what the graph saved, where nothing but data and weights lies before."""
        for node in reversed(_nodes(loss.grad_fn)):
            saved = {
                name: value
                for name in dir(node)
                if name.startswith("_saved_") and isinstance(value := _attribute(node, name), Tensor)
            }
            bad = {
                name: value for name, value in saved.items() if name != "_saved_result" and not _finite(value)
            }
            if not bad:
                continue
            before = [following for following, _ in node.next_functions]
            value = next(iter(bad.values()))
            if "_saved_target" in bad and _finite(saved.get("_saved_self")):
                birth.kind, value = "target", bad["_saved_target"]
            elif all(map(_leads_to_leaves, before)):
                birth.kind = "input"
            elif len(before) == 1 and before[0] is not None and before[0].name().startswith(("Sub", "Rsub")):
                if all(following is not None for following, _ in before[0].next_functions):
                    return False
                if self._usual_loss > 1e12:  # it diverged: the prediction overflows, not the target
                    return False
                birth.kind = "target"
            else:
                return False
            birth.name, birth.shape = node.name(), tuple(value.shape)
            birth.inputs = [numbers for numbers in (measure.stats(value),) if numbers is not None]
            return True
        return False

    def _birth_in_variables(self, birth: Birth) -> None:
        """Finds data that were not finite in the variables of the function that called backward, before what is made of them."""
        frame = self.places.frame(1)
        for name, value in variables(frame).items() if frame is not None else ():
            inside = list(value.values()) if isinstance(value, dict) else value
            for entry in inside[:64] if isinstance(inside, (tuple, list)) else [inside]:
                if not isinstance(entry, Tensor) or entry.dim() == 0 or not entry.numel() or _finite(entry):
                    continue
                if entry.requires_grad:
                    return
                numbers = measure.stats(entry)
                if numbers is not None and not (numbers.min == -math.inf and numbers.max == 0):
                    birth.kind, birth.name, birth.shape, birth.inputs = (
                        "data",
                        name,
                        tuple(entry.shape),
                        [numbers],
                    )

    def _birth_in_graph(self, birth: Birth, loss: Tensor) -> None:
        nodes = _nodes(loss.grad_fn)
        traced = self._traced_nodes if len(self._traced_nodes) == len(nodes) else []
        for number in range(len(nodes) - 1, -1, -1):
            node = nodes[number]
            inside, outside = _saved(node)
            known = traced[number] if traced and traced[number][0] == node.name() else None
            if (inside and all(map(_finite, inside))) and (
                any(not _finite(entry) for entry in outside) or _breaks(node.name(), inside)
            ):
                birth.kind, birth.name = "forward", node.name()
                birth.inputs = [numbers for entry in inside if (numbers := measure.stats(entry)) is not None]
                if known is not None and known[1] >= 0:
                    op = self.observation.ops[known[1]]
                    birth.op, birth.module, birth.place, birth.name = op.index, op.module, op.place, op.name
                return

    # -- optimizers ------------------------------------------------------------------------------------------------

    def _around_optimizer_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            if not self.recording or _compiling():
                return original(optimizer, *args, **kwargs)
            self._mode_off()
            try:
                original(optimizer, *args, **kwargs)
            finally:
                self._mode_on()
            self.guard(self._optimizer_built, optimizer)
            return None

        return __init__

    def _optimizer_built(self, optimizer: Any) -> None:
        place = self.places.construction(optimizer, 3)
        uid = self._register_optimizer(optimizer, place)
        self.event("optimizer", place, optimizer=uid)
        if self.observation.step_count:
            self._deep_until = max(self._deep_until, self.observation.step_count + 2)
            self._deep_backwards = max(self._deep_backwards, self.observation.backward_count + DEEP_BACKWARDS)
            if self.level != DEEP and not self.stack and not self._step_depth:
                self._set_level(DEEP)

    def _known_optimizers(self) -> None:
        asked: dict[int, bool] = {}  # of half a million objects a few thousand types are asked
        for thing in gc.get_objects():
            kind = type(thing)
            if (found := asked.get(id(kind))) is None:
                found = asked[id(kind)] = issubclass(kind, torch_optimizer.Optimizer)
            if found and "param_groups" in vars(thing):
                self._elders.append(weakref.ref(thing))

    def _adopt_elders(self) -> None:
        """Registers the optimizers that were made before the watching and hold something of what runs; others may be stale."""
        for reference in list(self._elders):
            optimizer = reference()
            held = (
                []
                if optimizer is None
                else [entry for group in optimizer.param_groups for entry in group["params"]]
            )
            if any(
                (known := self._parameters.get(id(entry))) is not None and known[0]() is entry
                for entry in held
            ):
                self._elders.remove(reference)
                self._register_optimizer(optimizer, None)

    def _register_optimizer(self, optimizer: Any, place: Place | None) -> int:
        entry = self._optimizers.get(id(optimizer))
        if entry is not None and entry[0]() is optimizer:
            return entry[1]
        uid = len(self.observation.optimizers)
        groups = [
            {
                key: _plain_number(value)
                for key, value in group.items()
                if key not in ("params", "param_names")
            }
            for group in optimizer.param_groups
        ]
        record = Optimizer(uid, type(optimizer).__name__, groups, place=place)
        self.observation.optimizers.append(record)
        self._optimizers[id(optimizer)] = (weakref.ref(optimizer), uid)
        self._backwards_at[uid] = self.observation.backward_count
        self._refresh_optimizer(optimizer, record)
        return uid

    def _refresh_optimizer(self, optimizer: Any, record: Optimizer) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            for group in optimizer.param_groups:
                for tensor in group["params"]:
                    uid = self._register_parameter(tensor, "", -1)
                    if uid not in record.parameters:
                        record.parameters.append(uid)

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.recording or _compiling():
            return
        closure = (len(args) > 1 or bool(kwargs)) and _has_closure(args, kwargs)
        self._step_depth += 1
        if self.level != IDLE:
            self.guard(self._measure_before_step, optimizer)
        if not closure:
            self._mode_off()
            self.trace.stand(False)

    def _measure_before_step(self, optimizer: Any) -> None:
        observation = self.observation
        uid = self._register_optimizer(optimizer, None)
        known = observation.optimizers[uid]
        self._refresh_optimizer(optimizer, known)
        place = self.places.here(4)
        known.step_place = known.step_place or place
        record = Step(self.tick(), observation.step_count, uid, _rates(optimizer), place)
        record.backwards = observation.backward_count - self._backwards_at.get(uid, 0)
        record.sampled = True
        tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        sizes = iter(measure.norms([tensor.grad for tensor in tensors if tensor.grad is not None]))
        kept: list[tuple[int, Tensor]] = []
        for tensor in tensors:
            number = self._register_parameter(tensor, "", -1)
            if not tensor.requires_grad:
                record.frozen += 1
            if tensor.grad is None:
                record.none += 1
                record.none_uids.append(number)
                if optimizer.state.get(tensor):
                    record.none_stateful.append(number)
                continue
            size = record.gradients[str(number)] = next(sizes)
            record.held += size != 0
            record.zero += size == 0
            record.piled += number in self._piled
            values = measure.plain(tensor)
            if values is not None and values.is_floating_point():
                kept.append((number, measure.sample(values, 16_384).clone()))
        norm = math.sqrt(sum(size * size for size in record.gradients.values()))
        if math.isfinite(norm) and not self._picked:
            self._usual_norm += (norm - self._usual_norm) / (len(observation.steps) + 1)
        for (number, copy), size in zip(kept, measure.norms([copy for _, copy in kept])):
            record.norms[str(number)] = size
            self._pending.append((number, copy, size))
        self._pending_step = record

    def _after_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.recording or _compiling():
            return
        if self._step_depth:
            self._step_depth -= 1
            if not ((len(args) > 1 or kwargs) and _has_closure(args, kwargs)):
                self._mode_on()
            if self._pending_step is not None:
                self.guard(self._measure_after_step, optimizer, self._pending_step)
                self._pending.clear()
                self._pending_step = None
        observation = self.observation
        entry = self._optimizers.get(id(optimizer))
        if entry is not None:
            observation.optimizers[entry[1]].steps += 1
            self._backwards_at[entry[1]] = observation.backward_count + len(self._quiet_values)
        self._stepped = True
        observation.step_count = count = observation.step_count + 1
        if count <= SAMPLED_STEPS or count % EVERY == 0:
            self.guard(self.ranks.stepped, count)
        if self.streams._ready:
            self.streams.stepped()
        if self.level == IDLE and count >= self.streams.next_look:
            self._wake()
            self.guard(self.streams.look, count)
        early = count < SAMPLED_STEPS or count < max(self._deep_until, self._sampled_until)
        if early or self.level != IDLE or self.trace.standing or count % EVERY == 0:
            self.guard(self._new_lap, count)
            if self._next_moments:
                self.guard(self._step_moments, count)
        if self._calm:
            self._quieten()
        if self.stop_steps is not None and count >= self.stop_steps:
            raise StopExamination(f"stopped after {count} steps")

    def _measure_after_step(self, optimizer: Any, record: Step) -> None:
        references = dict(self._live)
        changed: list[tuple[int, float, Tensor]] = []
        for uid, copy, size in self._pending:
            tensor = references[uid]() if uid in references else None
            values = measure.plain(tensor)
            if tensor is None or values is None:
                continue
            changed.append((uid, size, measure.sample(values, 16_384) - copy))
        for (uid, size, _), moved in zip(changed, measure.norms([entry for _, _, entry in changed])):
            record.ratios[str(uid)] = moved / size if size > 0 else math.inf if moved > 0 else 0.0
        record.along = _cosine(
            [
                (delta, measure.sample(grad, 16_384))
                for uid, _, delta in changed[:64]
                if (tensor := references[uid]()) is not None
                and (grad := measure.plain(tensor.grad)) is not None
            ]
        )
        for group in optimizer.param_groups:
            for tensor in group["params"]:
                known = self._parameters.get(id(tensor))
                if known is not None and tensor.grad is not None:
                    self._used[known[1]] = (id(tensor.grad), tensor.grad._version)
        kept = self.observation.outliers if self._picked else self.observation.steps
        self._picked = False
        if len(kept) < MOST_RECORDS:
            kept.append(record)

    def _new_lap(self, count: int) -> None:
        if self._step_depth:
            return
        self._set_trace()
        wanted = self._scheduled()
        if wanted != self.level and self._evaluation is None:
            self._set_level(wanted)
        self._layers_seen.clear()
        if self.level == DEEP:
            self.trace.new_lap()

    def _step_moments(self, count: int) -> None:
        for name in list(self._next_moments):
            late = self._first_backward and time.perf_counter() - self._first_backward > 30
            if (
                name == "step"
                or (name == "2" and count >= 2)
                or (name == "100" and (count >= 100 or late))
                or (
                    name == "epoch"
                    and any(loader.ended and loader.trained for loader in self.observation.loaders)
                )
            ):
                self._moment(name)

    # -- schedulers, evaluation mode, loaders ------------------------------------------------------------------------

    def _around_scheduler(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.recording or self.places.kind(sys._getframe(1).f_code) == OPTIM:
                return original(scheduler, *args, **kwargs)
            self._mode_off()
            try:
                return original(scheduler, *args, **kwargs)
            finally:
                self._mode_on()
                self.guard(self._scheduler_stepped, scheduler, bool(args or kwargs))

        return step

    def _around_scheduler_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(scheduler: Any, *args: Any, **kwargs: Any) -> None:
            if not self.recording or self.muted or _compiling():
                return original(scheduler, *args, **kwargs)
            self._mode_off()
            try:
                original(scheduler, *args, **kwargs)
            finally:
                self._mode_on()
            self.guard(self._scheduler_built, scheduler)
            return None

        return __init__

    def _scheduler_built(self, scheduler: Any) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        known = self._optimizers.get(id(optimizer))
        number = self.observation.counts.get("scheduler_built", 0)
        self._schedulers[id(scheduler)] = (weakref.ref(scheduler), number)
        self.event(
            "scheduler_built",
            self.places.construction(scheduler, 3),
            cls=type(scheduler).__name__,
            lr=_rates(optimizer) if optimizer is not None else [],
            optimizer=known[1] if known else -1,
            number=number,
        )

    def _scheduler_stepped(self, scheduler: Any, given: bool) -> None:
        counts = self.observation.counts
        if counts.get("scheduler", 0) >= MOST_EVENTS and counts["scheduler"] % EVERY:
            counts["scheduler"] += 1
            return
        optimizer = getattr(scheduler, "optimizer", None)
        known = self._optimizers.get(id(optimizer))
        rates = _rates(optimizer) if optimizer is not None else []
        name = type(scheduler).__name__
        built = self._schedulers.get(id(scheduler))
        self.event(
            "scheduler",
            self.places.here(3),
            cls=name,
            lr=rates,
            optimizer=known[1] if known else -1,
            number=built[1] if built is not None and built[0]() is scheduler else -1,
            given=given,
            period=_plain_number(getattr(scheduler, "T_max", None)),
            last_epoch=_plain_number(getattr(scheduler, "last_epoch", None)),
        )

    def _around_train(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def train(module: nn.Module, mode: bool = True) -> Any:
            if not self.recording or _compiling() or self._train_depth:
                return original(module, mode)
            self._train_depth += 1
            try:
                return original(module, mode)
            finally:
                self._train_depth -= 1
                self.guard(self._mode_changed, module, mode)

        return train

    def _mode_changed(self, module: nn.Module, mode: bool) -> None:
        known = self._modules.get(id(module))
        uid = known[1] if known is not None and known[0]() is module else -1
        place = self.places.here(3)
        self.event("train" if mode else "eval", place, module=uid)
        if not mode:
            self.streams.entered()
            self._hint(("eval", *self.places.both(3)))

    def _around_no_grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __enter__(context: Any) -> Any:
            if self.recording and not _compiling():
                self.trace.settle()
                frame: Any = sys._getframe(1)
                if (
                    frame.f_code.co_name == "decorate_context"
                ):  # a function of the user's that is decorated with it
                    decorated = getattr(frame.f_locals.get("func"), "__code__", None)
                    if decorated is not None and self.places.kind(decorated) == USER:
                        self.guard(self._no_grad_entered, frame.f_back, decorated)
                elif self.places.kind(frame.f_code) in (USER, FOREIGN):
                    self.guard(self._no_grad_entered, frame)
            return original(context)

        return __enter__

    def _around_set_grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(context: Any, mode: bool) -> None:
            self._grad_switched = self._grad_switched or self.places.kind(sys._getframe(1).f_code) == USER
            if (
                not mode
                and self.recording
                and not _compiling()
                and self.places.kind(sys._getframe(1).f_code) in (USER, FOREIGN)
            ):
                self.guard(self._no_grad_entered, sys._getframe(1))
            original(context, mode)

        return __init__

    def _no_grad_entered(self, frame: Any, decorated: types.CodeType | None = None) -> None:
        above = frame.f_back
        key = (frame.f_code, frame.f_lineno, above and above.f_code, above and above.f_lineno)
        if self._hints.get(key, 0) < DEEP_EVALUATIONS:
            detail: dict[str, Any] = {}
            if decorated is not None:
                shown = self.places.shown(decorated.co_filename)
                detail["defined"] = Place(shown, decorated.co_firstlineno, decorated.co_name)
            self.event("no_grad", self.places.here(3), **detail)
            self._hint(key)

    def _hint(self, key: Any) -> None:
        """An evaluation may begin here: looks closely again, three times for each place that says so."""
        if (
            self._hints.get(key, 0) >= DEEP_EVALUATIONS
            or not torch.is_grad_enabled()
            or self.stack
            or self._step_depth
        ):
            return
        if not self.observation.backward_count:
            return
        self._hints[key] = self._hints.get(key, 0) + 1
        self._wake()
        self._evaluation_hint = True
        if self.level != DEEP and not self.muted:
            self._set_level(DEEP)

    def _end_evaluation(self) -> None:
        seen = self._evaluation
        self._evaluation, self._evaluation_hint = None, False
        if not self._step_depth and not self.muted:
            self._set_level_keeping_forward(self._scheduled())
        if seen is not None:
            seen.complete = True
            self._evaluated = True
            if "epoch" in self._next_moments and (seen.compared or seen.exported) and seen.forwards:
                self._moment("epoch")

    def _set_level_keeping_forward(self, level: int) -> None:
        # The forward of this backward was watched: its records are filled in before the level falls.
        if self.level > level and self._last_forward:
            for forward in self._last_forward.values():
                if forward.grad_enabled:
                    forward.followed = "backward"
        self._set_level(level)

    def _around_collective(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def collective(*args: Any, **kwargs: Any) -> Any:
            if self.recording and self._evaluation is not None:
                self._evaluation.reduced = True
            return original(*args, **kwargs)

        return collective

    def _around_loader_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(loader: Any, *args: Any, **kwargs: Any) -> None:
            original(loader, *args, **kwargs)
            if self.recording:
                self.guard(self._loader_built, loader)

        return __init__

    def _loader_built(self, loader: Any) -> None:
        if len(self._built) < 50_000:
            place = self.places.construction(loader, 3)
            self._built[id(loader)] = (weakref.ref(loader), place)
            helper = place is not None and place.function != "<module>"
            self._built_for[id(loader)] = self.places.above(place, 3) if helper else None

    def _around_loader(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __iter__(loader: Any) -> Any:
            if not self.recording or self.muted:
                return original(loader)
            self._mode_off()
            try:
                iterator = original(loader)
            finally:
                self._mode_on()
            self.guard(self._loader_begins, loader, iterator)
            return iterator

        return __iter__

    def _loader_begins(self, loader: Any, iterator: Any) -> None:
        entry = self._loaders.get(id(loader))
        if entry is None or entry[0]() is not loader:
            uid = len(self.observation.loaders)
            self.observation.loaders.append(self._loader_record(uid, loader))
            entry = self._loaders[id(loader)] = (weakref.ref(loader), uid)
        known = self.observation.loaders[entry[1]]
        self._wake()
        known.passes, known.begun = known.passes + 1, known.batches
        self._fetched[known.uid] = 0.0
        new = not known.trained and known.passes <= DEEP_EVALUATIONS and self.observation.backward_count
        if new and not (self.stack or self._step_depth or self.muted):  # perhaps an evaluation
            self._evaluation_hint = True
            self._set_level(DEEP)
        if len(self._loader_of_iterator) > 1000:
            self._loader_of_iterator.clear()
        self._loader_of_iterator[id(iterator)] = entry[1]

    def _loader_record(self, uid: int, loader: Any) -> Loader:
        dataset = loader.dataset
        base, indices = dataset, None
        while type(base).__name__ == "Subset" and hasattr(base, "indices"):
            mine = list(base.indices)
            indices = mine if indices is None else [mine[entry] for entry in indices]
            base = base.dataset
        try:
            examples = len(dataset)
        except Exception:  # a stream, or one that says so in its own way
            examples = -1
        sampler = type(getattr(loader, "sampler", None)).__name__
        record = Loader(
            uid,
            type(base).__name__,
            id(base),
            examples,
            sampler,
            int(loader.batch_size or 0),
            loader.num_workers,
            bool(loader.drop_last),
            getattr(loader.collate_fn, "__name__", "") == "default_collate",
        )
        drawn = getattr(loader, "sampler", None)
        inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
        for one in (drawn, inner):
            replicas = getattr(one, "num_replicas", None)
            if isinstance(replicas, int):
                record.replicas = max(record.replicas, replicas)
        record.place = self.places.here(4)
        built = self._built.get(id(loader))
        if built is not None and built[0]() is loader:
            record.built, record.built_for = built[1], self._built_for.get(id(loader))
        if indices is not None:
            record.indices = str(hash(tuple(int(entry) for entry in indices)))
        if indices is not None or 0 <= examples <= 2_000_000:
            mine_set = {int(entry) for entry in indices} if indices is not None else set(range(examples))
            self._indices[uid] = mine_set
            for other in self.observation.loaders:
                theirs = self._indices.get(other.uid)
                if other.dataset_id == record.dataset_id and theirs and mine_set:
                    record.overlaps[str(other.uid)] = len(mine_set & theirs) / len(mine_set)
        return record

    def _around_next(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __next__(iterator: Any) -> Any:
            uid = self._loader_of_iterator.get(id(iterator)) if self.recording else None
            if uid is None or self.muted:
                return original(iterator)
            record = self.observation.loaders[uid]
            number = record.batches - record.begun
            watched = record.passes <= PASSES_WATCHED and number < BATCHES_WATCHED
            idle = self.level == IDLE and not watched
            self._fetching = watched
            self.streams.seeds.clear()
            # Not before the second pass: what makes an example is looked at where it could differ from the first time.
            followed = number == 0 and record.passes == 2 and not record.workers
            lines = LineWatch(self.places) if followed else None
            began = time.perf_counter()
            self._mode_off()
            try:
                if lines is not None:
                    with lines:
                        batch = original(iterator)
                else:
                    batch = original(iterator)
            except StopIteration:
                self.guard(self.streams.pass_ended, iterator)
                self.guard(self._loader_ended, uid)
                raise
            finally:
                self._fetching = False
                self._mode_on()
            if watched:
                self.guard(self.streams.fetched, uid, iterator, batch, number, self._random_at_index, lines)
            record.batches += 1
            if idle:
                ended, before = time.perf_counter(), self._fetched.get(uid, 0.0)
                if before:  # the batch before it came while nothing was watched, too
                    record.waited += ended - began
                    record.spanned += ended - before
                    record.waited_batches += 1
                self._fetched[uid] = ended
            else:
                self._fetched[uid] = 0.0
            if record.workers and not watched and number < WORKER_BATCHES and record.passes <= WORKER_PASSES:
                self.guard(self.streams.fetched_from_worker, uid, iterator, batch, number)
            self._last_loader = uid
            return batch

        return __next__

    def _around_next_index(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def _next_index(iterator: Any) -> Any:
            index = original(iterator)
            if self.recording:
                uid = self._loader_of_iterator.get(id(iterator))
                loader = self.observation.loaders[uid] if uid is not None else None
                if loader is not None and loader.passes > PASSES_WATCHED:
                    if loader.workers and loader.passes <= WORKER_PASSES:
                        self.streams.note_indices(iterator, index)
                    return index
                self._random_at_index = self.guard(self.streams.indices, iterator, index)
            return index

        return _next_index

    def _loader_ended(self, uid: int) -> None:
        record = self.observation.loaders[uid]
        record.ended += 1
        self.event("loader_end", None, loader=uid)

    def _around_compile(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def compile(*args: Any, **kwargs: Any) -> Any:
            if self.recording and not self._compiled:
                self._compiled = True
                self.guard(self.event, "compile", self.places.here(1))
                result = original(*args, **kwargs)
                if self.level >= SAMPLED:
                    self._toggle_stance(True)
                return result
            return original(*args, **kwargs)

        return compile

    # -- modules ---------------------------------------------------------------------------------------------------

    def _around_module_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            original(module, *args, **kwargs)
            if self.recording and not _compiling():
                self.guard(self._module_built, module)

        return __init__

    def _module_built(self, module: nn.Module) -> None:
        if len(self._built) < 50_000:
            place = self.places.construction(module, 3)
            self._built[id(module)] = (weakref.ref(module), place)
            helper = place is not None and place.function not in ("<module>", "__init__")
            self._built_for[id(module)] = self.places.above(place, 3) if helper else None

    def _parameter_made(self, module: nn.Module, name: str, parameter: Any) -> None:
        if self.recording and isinstance(parameter, Tensor) and not _compiling():
            self.guard(self._note_parameter, parameter)

    def _note_parameter(self, parameter: Tensor) -> None:
        if self.observation.backward_count:  # a part of the network is new: what becomes of it?
            step = self.observation.step_count
            if step >= self._sampled_until and self._renewals < MOST_RENEWALS:
                self._renewals += 1
                self._sampled_until = step + 4
            return
        if len(self._made) >= 50_000:
            return
        known = self._made.get(id(parameter))
        if known is None or known[0]() is not parameter:
            self._made[id(parameter)] = (weakref.ref(parameter), self.places.here(3))

    def _uid(self, module: nn.Module) -> int:
        entry = self._modules.get(id(module))
        if entry is not None and entry[0]() is module:
            return entry[1]
        if self.stack:  # a part that came later, or a stranger in somebody's forward
            root = self.observation.modules[self.observation.modules[self.stack[0]].root].uid
            owner = next((ref() for ref, uid in self._modules.values() if uid == root), None)
            if owner is not None and any(part is module for part in owner.modules()):
                self._register_tree(owner)
                return self._modules[id(module)][1]
        self._register_tree(module, self.stack[-1] if self.stack else -1)
        return self._modules[id(module)][1]

    def _register_tree(self, root: nn.Module, inside: int = -1) -> None:
        modules = self.observation.modules
        root_uid = -1
        for name, module in root.named_modules(remove_duplicate=False):
            entry = self._modules.get(id(module))
            if entry is not None and entry[0]() is module:
                record = modules[entry[1]]
                if root_uid >= 0 and record.root != root_uid:
                    record.root, record.name, record.inside, record.names = root_uid, name, -1, []
                if name not in record.names:
                    record.names.append(name)
                root_uid = record.uid if module is root else root_uid
                continue
            uid = len(modules)
            root_uid = uid if module is root else root_uid
            built = self._built.get(id(module))
            place = built[1] if built is not None and built[0]() is module else None
            kind = type(module)
            record = Module(
                uid,
                name,
                kind.__name__,
                kind.__module__.partition(".")[0] == "torch",
                root_uid,
                inside if module is root else -1,
            )
            record.place, record.config, record.names = place, _config(module), [name]
            record.built_for = self._built_for.get(id(module)) if place is not None else None
            record.training, record.children = module.training, len(module._modules)
            modules.append(record)
            self._modules[id(module)] = (weakref.ref(module), uid)
        for name, module in root.named_modules():
            record = modules[self._modules[id(module)][1]]
            prefix = f"{name}." if name else ""
            record.parameters = [
                self._register_parameter(entry, prefix + key, record.uid)
                for key, entry in module._parameters.items()
                if entry is not None and not torch.nn.parameter.is_lazy(entry)
            ]
            for key, entry in module._buffers.items():
                if entry is not None and not torch.nn.parameter.is_lazy(entry):
                    self._register_parameter(entry, prefix + key, record.uid, buffer=True)

    def _register_lazy(self, uid: int, module: nn.Module) -> None:
        """Notes what a layer has become whose sizes its first input decided."""
        record = self.observation.modules[uid]
        record.cls, record.config = type(module).__name__, _config(module)
        prefix = f"{record.name}." if record.name else ""
        record.parameters = [
            self._register_parameter(entry, prefix + key, uid)
            for key, entry in module._parameters.items()
            if entry is not None and not torch.nn.parameter.is_lazy(entry)
        ]

    def parameter_of(self, tensor: Tensor) -> int | None:
        """Returns the uid of a known parameter, buffer or leaf that wants a gradient; registers the latter."""
        entry = self._parameters.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            return entry[1]
        if tensor.requires_grad and _leaf(tensor) and measure.plain(tensor) is not None:
            return self._register_parameter(tensor, "", -1)
        return None

    def _register_parameter(self, tensor: Tensor, name: str, module: int, *, buffer: bool = False) -> int:
        entry = self._parameters.get(id(tensor))
        records = self.observation.parameters
        if entry is not None and entry[0]() is tensor:
            record = records[entry[1]]
            if module >= 0 and record.module < 0:  # seen while it was filled, perhaps frozen since
                record.requires_grad = tensor.requires_grad
            if name and (not record.name or len(name) > len(record.name)):
                record.name, record.module = name, module if record.module < 0 else record.module
            return entry[1]
        uid = len(records)
        record = Parameter(uid, name, module, tuple(tensor.shape), str(tensor.dtype)[6:], str(tensor.device))
        record.requires_grad, record.buffer = tensor.requires_grad, buffer
        record.trainable = (
            isinstance(tensor, nn.Parameter) or sys._getframe(1).f_code.co_name == "_refresh_optimizer"
        )
        if not buffer:
            self._live.append((uid, weakref.ref(tensor)))
            made = self._made.get(id(tensor))
            record.written = made[1] if made is not None and made[0]() is tensor else None
        records.append(record)
        self._parameters[id(tensor)] = (weakref.ref(tensor), uid)
        return uid

    def _before_module(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.recording and not self._backward_depth:
            self.guard(self._module_begins, module, args)

    def _after_module(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if self.recording and not self._backward_depth:
            self.guard(self._module_ends, module, args, out)

    def _module_begins(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            return
        uid = self._uid(module)
        if not self.stack:
            trains = module.training and torch.is_grad_enabled()
            if trains and self._evaluation is not None and self.level < self._scheduled():
                self._set_level(DEEP)  # an evaluation before the first steps is over
            self._forward_begins(uid, module, args)
        self.stack.append(uid)
        self._shapes = [tuple(entry.shape) for entry in measure.tensors(args)]
        if self.level == SAMPLED and uid in self._intakes and torch.is_grad_enabled():
            self._module_intake(uid, args)
        if _has_fast_path(module):
            self._fast_depth += 1
        self._set_trace()

    def _forward_begins(self, uid: int, module: nn.Module, args: tuple[Any, ...]) -> None:
        observation = self.observation
        observation.counts["forward"] = observation.counts.get("forward", 0) + 1
        self._forward = None
        if isinstance(module, nn.modules.loss._Loss) or (
            not observation.modules[uid].parameters and not observation.modules[uid].children
        ):
            return
        grad = torch.is_grad_enabled()
        record = Forward(self.tick(), observation.step_count, uid, grad, module.training, self.places.here(6))
        record.loader, record.batch = self._batch()
        inputs = list(measure.tensors(args)) or list(measure.tensors(given(module)))
        first = inputs[0] if inputs else None
        evaluation = None if grad else self._evaluating(record, uid)
        if first is not None:
            record.shape, record.dtype = tuple(first.shape), str(first.dtype)[6:]
            record.input_grad = any(entry.requires_grad for entry in inputs)
            last = self._last_forward.get(uid)
            if last is None or not grad or not module.training or not last.grad_enabled:
                record.stats = (
                    measure.stats(first) if evaluation is None or evaluation.forwards <= 20 else None
                )
                if record.stats is not None:
                    self._other_inputs(record, args)
                if self._examples[grad] < MOST_EXAMPLES:
                    record.examples = measure.fingerprints(inputs)
                    self._examples[grad] += len(record.examples)
        self.streams.forward(record, module, inputs)
        if grad and module.training:
            self.pairs.forward(uid, inputs, record.examples)
        if len(observation.forwards) < MOST_RECORDS:
            observation.forwards.append(record)
        self._forward = record
        self._last_forward[uid] = record

    def _other_inputs(self, record: Forward, args: tuple[Any, ...]) -> None:
        for number, entry in enumerate(list(measure.tensors(args))[1:5], 1):
            if entry.is_floating_point():
                numbers = measure.stats(entry)
                if numbers is not None and numbers.finite < 1:
                    record.others[str(number)] = numbers

    def _batch(self) -> tuple[int, int]:
        """Returns the uid of the loader that gave the latest batch, and the batch's number in its pass; -1 for none."""
        if self._last_loader < 0:
            return -1, -1
        known = self.observation.loaders[self._last_loader]
        return known.uid, known.batches - known.begun - 1

    def _evaluating(self, record: Forward, uid: int) -> Evaluation:
        seen = self._evaluation
        if seen is None:
            seen = self._evaluation = Evaluation(
                record.order, record.step, record.place, loader=self._last_loader
            )
            if len(self.observation.evaluations) < MOST_EVENTS:
                self.observation.evaluations.append(seen)
        seen.forwards += 1
        if uid not in seen.modules:
            seen.modules.append(uid)
        return seen

    def _module_ends(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        entry = self._modules.get(id(module))
        if entry is None or entry[1] not in self.stack:
            return
        if _has_fast_path(module):
            self._fast_depth = max(0, self._fast_depth - 1)
            self._set_trace()
        uid = entry[1]
        while self.stack.pop() != uid:
            continue
        if self.observation.modules[uid].cls.startswith("Lazy"):
            self._register_lazy(uid, module)
        self._layer_ran(uid, module, args, out)
        if not self.stack:
            self._forward_ends(uid, out)

    def _layer_ran(self, uid: int, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        observation = self.observation
        known = observation.modules[uid]
        evaluation, forward = self._evaluation, self._forward
        if known.torch and is_modal(known.cls, known.config):  # others may be told the mode in another way
            if forward is not None:
                forward.modal_training += module.training
                forward.modal_evaluating += not module.training
            if evaluation is not None and not torch.is_grad_enabled():
                side = evaluation.modal_training if module.training else evaluation.modal_evaluating
                if uid not in side:
                    side.append(uid)
        if known.children or uid in self._layers_seen or len(observation.layers) >= MOST_RECORDS:
            return
        if evaluation is not None and evaluation.forwards > DEEP_EVALUATION_BATCHES:
            return
        if isinstance(module, nn.modules.loss._Loss):
            return
        self._layers_seen.add(uid)
        result, first = measure.first_tensor(out), measure.first_tensor(args)
        record = Layer(self.tick(), observation.step_count, uid, module.training)
        if first is not None:
            record.shape = tuple(first.shape)
            if self.level == DEEP:
                record.received = measure.stats(first)
        if result is not None:
            record.output, record.gave = tuple(result.shape), measure.stats(result)
            if isinstance(module, (nn.ReLU, nn.ReLU6)):
                record.dead = measure.dead_units(result)
            elif isinstance(module, (nn.Sigmoid, nn.Tanh)):
                record.saturated = measure.saturated(known.cls.lower(), result)
        if first is not None and uid in self._after_function:
            self._function_before(record, uid, first)
        observation.layers.append(record)

    def _function_before(self, record: Layer, uid: int, first: Tensor) -> None:
        record.before, name, scale, shift = self._after_function[uid]
        op = self.observation.ops[record.before]
        if name == "relu":
            record.dead = measure.dead_units(first, op.shape[1] if len(op.shape) == 4 else 0)
        elif (scale, shift) == (1.0, 0.0):
            record.saturated = measure.saturated(name, first)
        elif (values := measure.plain(first)) is not None and values.is_floating_point():
            record.saturated = measure.saturated(name, (measure.sample(values) - shift) / scale)

    def _follows_function(self, op: Op) -> None:
        """Notes that a layer takes the result of a function of activation, which has no module that could be watched."""
        observation = self.observation
        made = observation.made(op.inputs[0]) if op.inputs else None
        scale, shift = 1.0, 0.0  # what the layer takes is scale * made + shift
        while made is not None and made.inputs and not observation.squashes(made):
            if made.name not in PASSIVE and not made.name.startswith("max_pool"):
                line = straight(made)
                if line is None:
                    break
                scale, shift = scale * line[0], shift + scale * line[1]
            made = observation.made(made.inputs[0])
        if made is None or made.module < 0 or not made.grad:
            return
        name = made.name if made.name == "relu" else observation.squashes(made)
        layer = observation.modules[made.module]
        if (
            name
            and not (layer.torch and layer.children == 0)
            and (name != "relu" or not (scale - 1 or shift))
        ):
            self._after_function.setdefault(op.module, (made.index, name, scale, shift))

    def _forward_ends(self, uid: int, out: Any) -> None:
        record = self._forward
        if record is not None and record.module == uid:
            result = measure.first_tensor(out)
            if result is not None:
                record.output, record.output_grad = tuple(result.shape), result.requires_grad
                if record.others or (record.stats is not None and record.stats.finite < 1):
                    record.output_bad = any(not _finite(entry) for entry in measure.tensors(out))
        seen = self._evaluation
        if (
            seen is not None
            and seen.forwards >= DEEP_EVALUATION_BATCHES
            and self.level == DEEP
            and not (record is not None and record.grad_enabled and record.training)
            and seen.compared
            and self.streams.settled()
        ):
            # Hooks go on, to see the examples and the modes of the layers to the end of the evaluation.
            self._set_level(SAMPLED)
        self._forward = None

    # -- losses and operations ---------------------------------------------------------------------------------------

    def _patch_losses(self) -> None:
        for name in measure.LOSSES:
            self._loss_patches.wrap(nn.functional, name, partial(self._around_loss, name=name))

    def _around_loss(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def loss(*args: Any, **kwargs: Any) -> Any:
            if not self.recording or _compiling() or self.trace.wanted:  # the trace sees it
                return original(*args, **kwargs)
            record = self.guard(self.loss_begins, name, original, args, kwargs)
            result = original(*args, **kwargs)
            if record is not None:
                self.guard(self._loss_ended, record, result)
            return result

        return loss

    def loss_begins(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Loss:
        """Measures the arguments of a loss function before it runs."""
        observation = self.observation
        record = Loss(self.tick(), observation.step_count, name, grad_enabled=torch.is_grad_enabled())
        record.module = self.stack[-1] if self.stack else -1
        record.place = self.places.here(2)
        with torch._C.DisableTorchFunctionSubclass():
            arguments = measure.loss_arguments(name, func, args, kwargs)
            measure.measure_loss(record, arguments)
            if record.grad_enabled:
                self.pairs.loss(name, record.place, arguments.get("input"), arguments.get("target"))
        if len(observation.losses) < MOST_RECORDS:
            observation.losses.append(record)
        if self._evaluation is not None and not record.grad_enabled:
            self._compared(record.place)
        return record

    def _loss_ended(self, record: Loss, result: Any) -> None:
        if isinstance(result, Tensor) and result.dim() == 0:
            numbers = measure.stats(result)
            record.value = numbers.min if numbers else None

    def intake_seen(self, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notes the data that come to a layer with trainable weights, if no layer with parameters stands before it."""
        if not any(entry.source == "parameter" and entry.grad for entry in op.inputs):
            return
        number = next(
            (
                number
                for number, entry in enumerate(op.inputs)
                if not entry.grad
                and entry.source in ("unknown", "op")
                and entry.dtype.startswith(("float", "bfloat"))
            ),
            None,
        )
        data = [entry for entry in (*args, *kwargs.values()) if isinstance(entry, Tensor)]
        key = op.module if op.module >= 0 else op.place
        if number is None or number >= len(data) or self._intakes.get(key, 0) >= MOST_INTAKES:
            return
        before = (
            [
                self.observation.ops[op.inputs[number].op],
                *self.observation.ancestors(self.observation.ops[op.inputs[number].op]),
            ]
            if op.inputs[number].op >= 0
            else []
        )
        if any(entry.source in ("parameter", "leaf") for made in before for entry in made.inputs):
            return
        record = Intake(self.tick(), op.step, op.name, op.index, number, op.module, op.place)
        if measure.measure_intake(record, data[number], op.name):
            self._intakes[key] = self._intakes.get(key, 0) + 1
            self.observation.intakes.append(record)

    def _module_intake(self, uid: int, args: tuple[Any, ...]) -> None:
        known = next(entry for entry in self.observation.intakes if entry.module == uid)
        layer = self.observation.modules[uid]
        if not layer.torch or layer.children:
            return  # what it is given is not what its operation took
        step, seen = self.observation.step_count, self._intakes[uid]
        if not args or not isinstance(args[0], Tensor) or args[0].requires_grad or seen >= MOST_INTAKES:
            return
        if seen >= EARLY_INTAKES and step < SAMPLED_STEPS:
            return
        self._intakes[uid] += 1
        record = Intake(self.tick(), step, known.call, module=uid)
        if measure.measure_intake(record, args[0], known.call):
            self.observation.intakes.append(record)

    def op_seen(self, op: Op, results: list[Tensor], loss: Loss | None) -> None:
        """Called by the trace for each operation: what follows from it for the other records."""
        if op.module >= 0 and op.grad and op.name in ("linear", "conv1d", "conv2d", "conv3d"):
            self._follows_function(op)
        if loss is not None:
            loss.op = op.index
            loss.value = op.stats.min if op.stats is not None and op.shape == () else None
        node = _node(results[0]) if results and op.grad else None
        if node is not None:
            node.metadata.setdefault("netwright op", op.index)
        if self._evaluation is not None and not op.grad and not self.stack and self._evaluated_by(op):
            if op.name in ("eq", "ne"):
                self._compared(op.place)
                self._counted(op, results[0])
            elif op.name in ("numpy", "tolist", "item"):
                self._evaluation.exported = True
                self.streams.compared(None, exported=True)
        if self._evaluation is not None and not op.grad_enabled and self.stack and op.name == "dropout":
            self._functional_dropout(op)
        if op.inplace and not self._step_depth:
            target = op.inputs[0] if op.inputs else None
            uid = self._altered(target)
            if uid >= 0 and self.observation.backward_count:
                self.event("manual_update", op.place, parameter=uid, function=op.name)
            elif uid >= 0:
                self.observation.parameters[uid].written = op.place

    def _counted(self, op: Op, result: Tensor) -> None:
        """Counts right answers of an evaluation, where one answer for each example is compared with one label."""
        values = measure.plain(result)
        if self._evaluation is None or values is None or values.dtype != torch.bool:
            return
        if not values.dim() or values.numel() != len(values):
            return
        equal = int(values.sum())
        self._evaluation.asked += len(values)
        self._evaluation.right += equal if op.name == "eq" else len(values) - equal

    def _functional_dropout(self, op: Op) -> None:
        """Notes F.dropout(..., training=self.training) of the user's own layers, which acts as a dropout layer does."""
        known = self.observation.modules[op.module] if op.module >= 0 else None
        if (
            known is None
            or known.torch
            or op.place is None
            or self._evaluation is None
            or not op.options.get("p")
        ):
            return
        if ".training" not in linecache.getline(op.place.file, op.place.line):
            return
        evaluation = self._evaluation
        side = evaluation.modal_training if op.options.get("training") else evaluation.modal_evaluating
        if op.module not in side:
            side.append(op.module)

    def _evaluated_by(self, op: Op) -> bool:
        """Returns whether an operation is part of the evaluation under way, or looks at what it gave after its no_grad."""
        if not op.grad_enabled:
            return True
        if op.name not in ("eq", "ne", "numpy", "tolist", "item"):
            return False
        begun = self._evaluation.order if self._evaluation is not None else 0
        for operand in op.inputs[:2]:
            made = self.observation.made(operand)
            for _ in range(8):
                if made is None or made.order < begun:
                    break
                if not made.grad_enabled:
                    return True
                made = self.observation.made(made.inputs[0]) if made.inputs else None
        return False

    def drawn(self, tensor: Any) -> None:
        """A tensor was filled with random numbers in place: if it is a parameter, its first values come from there."""
        if self.observation.backward_count or not isinstance(tensor, Tensor) or is_lazy(tensor):
            return
        uid = self._altered(self.trace.operand("input", tensor))
        if uid >= 0:
            self.observation.parameters[uid].written = self.places.here(3)

    def _altered(self, operand: Any) -> int:
        """Returns the uid of the trainable parameter that an operand is or views, -1 if there is none."""
        for _ in range(4):
            if operand is None:
                return -1
            if operand.source == "parameter":
                return int(operand.parameter)
            made = self.observation.made(operand)
            if made is None or (made.name not in ("data", "detach", "view", "getitem") and not made.inplace):
                return -1
            operand = made.inputs[0] if made.inputs else None
        return -1

    def _compared(self, place: Place | None) -> None:
        self.streams.compared(place)
        if self._evaluation is not None and not self._evaluation.compared:
            self._evaluation.compared, self._evaluation.compared_place = True, place

    # -- random numbers ----------------------------------------------------------------------------------------------

    def _set_orders(self) -> None:
        self.observation.hash_seed = HASH_SEED
        frames, frame = [], self.places.frame(4)
        while frame is not None:
            if self.places.kind(frame.f_code) == USER:
                frames.append(frame)
            frame = frame.f_back
        for file, line, name in set_orders(frames[:8]) if not HASH_SEED else ():
            self.event("set_order", Place(self.places.shown(file), line), name=name)

    def _random_drawn_before(self) -> None:
        """Before a call that seeds: which generators have been drawn from since the last look."""
        if self.observation.counts.get("seed", 0) > MOST_EVENTS:
            return
        states = _random_states()
        for name, state in states.items():
            known = self.observation.generators.setdefault(name, {"seeded": False, "drawn": False})
            known["drawn"] = known["drawn"] or state != self._random_seen.get(name, state)
        self._only_own_draws()
        self._random_seen = states

    def _reseeded(self) -> None:
        if self.observation.counts.get("seed", 0) > MOST_EVENTS:
            return
        after = _random_states()
        for name, state in after.items():
            if state != self._random_seen.get(name):
                self.observation.generators.setdefault(name, {"drawn": False})["seeded"] = True
        self._random_seen = after

    def random_states(self) -> dict[str, Any]:
        return _random_states()

    def _random_at_end(self) -> None:
        for name, state in _random_states().items():
            known = self.observation.generators.setdefault(name, {"seeded": False, "drawn": False})
            known["drawn"] = known["drawn"] or state != self._random_seen.get(name, state)
        self._only_own_draws()

    def _only_own_draws(self) -> None:
        drawn = self.observation.generators["python"]
        drawn["drawn"] = drawn["drawn"] and self._random_imported()

    def _random_imported(self) -> bool:
        """Returns whether the program itself uses Python's random; libraries draw from it too, some when imported."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ("" if name == "__main__" else "<frozen>")
            if name != "__main__" and self.places.kind_of(file) != USER:
                continue
            for value in list(vars(module).values()):
                if value is random or getattr(value, "__self__", None) is random._inst:
                    return True
        return False


_FAST = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
_WATCHING: list[weakref.ref[Observer]] = []


def _forked() -> None:
    for entry in list(_WATCHING):
        observer = entry()
        if observer is not None:
            observer.on_moment = None
            observer.disarm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _has_closure(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return bool(kwargs.get("closure")) or any(callable(entry) for entry in args[1:])


def _has_fast_path(module: nn.Module) -> bool:
    """Returns whether PyTorch would take another way through a module, with other rounding, under a function mode."""
    return isinstance(module, _FAST) and not module.training and not torch.is_grad_enabled()


def _leaf(tensor: Tensor) -> bool:
    try:
        return tensor.is_leaf
    except RuntimeError:  # a view under no_grad of what was changed in place since
        return False


def _node(tensor: Tensor) -> Any:
    """Returns the graph node that made a tensor, None if there is none or PyTorch will not tell (views under no_grad)."""
    try:
        return tensor.grad_fn
    except RuntimeError:
        return None


def _cosine(pairs: list[tuple[Tensor, Tensor]]) -> float | None:
    """Returns the cosine of the angle between two vectors given in pieces, None where one of them is 0."""
    dot = one = other = 0.0
    for left, right in pairs:
        if left.shape == right.shape:
            left, right = left.double(), right.double()
            dot += float(left @ right)
            one += float(left @ left)
            other += float(right @ right)
    return dot / math.sqrt(one * other) if one > 0 and other > 0 and math.isfinite(one * other) else None


def _rates(optimizer: Any) -> list[float]:
    return [float(group.get("lr", math.nan)) for group in optimizer.param_groups]


def _plain_number(value: Any) -> Any:
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return [_plain_number(entry) for entry in value]
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    return type(value).__name__


def _config(module: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training" or len(found) >= 24:
            continue
        if isinstance(value, (bool, int, float, str)) or (
            isinstance(value, tuple)
            and len(value) < 8
            and all(isinstance(entry, (int, float)) for entry in value)
        ):
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def _finite(tensor: Any) -> bool:
    values = measure.plain(tensor)
    return values is None or not values.is_floating_point() or bool(torch.isfinite(values).all())


def _masked(op: Op) -> bool:
    """Returns whether an operation makes infinities on purpose, for a softmax to consume."""
    if op.stats is None or math.isnan(op.stats.min):
        return False
    if not op.grad and op.stats.max != math.inf:
        return True
    return op.name in ("masked_fill", "full", "full_like", "where", "triu", "tril", "add", "setitem", "fill")


def _nodes(root: Any, most: int = 5_000) -> list[Any]:
    """Returns the nodes of a graph in an order that depends on its structure only, the last one first."""
    found: list[Any] = []
    seen, queue = {root}, deque([root])
    while queue and len(found) < most:
        node = queue.popleft()
        found.append(node)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    return found


def _attribute(node: Any, name: str) -> Any:
    try:
        return getattr(node, name)
    except Exception:
        return None


def _leads_to_leaves(node: Any, depth: int = 3) -> bool:
    """Returns whether nothing but a parameter, perhaps turned or viewed, lies behind a node."""
    if node is None or node.name() == "torch::autograd::AccumulateGrad":
        return True
    turned = node.name().startswith(("T", "Transpose", "View", "Permute", "Expand", "ToCopy", "Unsqueeze"))
    return (
        depth > 0
        and turned
        and all(_leads_to_leaves(following, depth - 1) for following, _ in node.next_functions)
    )


def _walked(nodes: list[Any], order: int) -> int:
    """Marks the nodes of a graph; returns the mark of an earlier backward that some of them bear, else -1."""
    earlier = -1
    for node in nodes:
        if "AccumulateGrad" not in node.name():
            earlier = max(earlier, node.metadata.get("netwright walk", -1))
            node.metadata["netwright walk"] = order
    return earlier


def _saved(node: Any) -> tuple[list[Tensor], list[Tensor]]:
    inside: list[Tensor] = []
    outside: list[Tensor] = []
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                value = getattr(node, name)
            except Exception:
                continue
            if isinstance(value, Tensor):
                (outside if name == "_saved_result" else inside).append(value)
    return inside, outside


def _breaks(name: str, inside: list[Tensor]) -> bool:
    """Returns whether a node's finite operands must give a number that is not finite."""
    values = measure.plain(inside[0]) if inside else None
    if values is None:
        return False
    if name.startswith("Log"):
        return bool((values <= 0).any()) and not name.startswith(("LogSoftmax", "Logsumexp", "LogSigmoid"))
    if name.startswith("Div"):
        last = measure.plain(inside[-1])
        return last is not None and bool((last == 0).any())
    return False


def _accelerator() -> str:
    """Returns which accelerator the program could use, "" if there is none or the command line asks for the CPU."""
    if any(
        word in ("cpu", "--cpu", "--no-cuda", "--no_cuda") or word.endswith("=cpu") for word in sys.argv[1:]
    ):
        return ""
    try:
        if torch.cuda.device_count():  # asks the driver's library and starts nothing
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else ""
    except Exception:
        return ""


def _seeders() -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = [(torch, "manual_seed"), (torch.cuda, "manual_seed_all"), (random, "seed")]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found.append((numpy.random, "seed"))
    return found


def _random_states() -> dict[str, Any]:
    states: dict[str, Any] = {
        "python": hash(random.getstate()),
        "torch": hash(torch.get_rng_state().numpy().tobytes()),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        state = numpy.random.get_state()
        states["numpy"] = hash((state[1].tobytes(), state[2]))
    return states

"""Several processes that train one network together: who they are, how they join, what they exchange.

All of it is PyTorch's: `torchrun`'s variables, process groups (gloo on processors, NCCL on GPUs),
`DistributedDataParallel`, FSDP2's `fully_shard`. With one process nothing of `torch.distributed` is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from netwright.errors import NetworkError, NetwrightError, RecipeError, TrainingFailed

if TYPE_CHECKING:
    import torch.distributed

Result = TypeVar("Result")

# A child of the network with fewer bytes of parameters than this is left to the root's group: gathering it by
# itself would cost a message for less than a message's worth of memory.
SHARD_BYTES = 1 << 20
SECONDS_TO_HEAR_OF_THE_FIRST = 1.0
SECONDS_TO_BE_ENDED = 3.0
SECONDS_BETWEEN_AGREEMENTS = 0.25


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is; `local_rank` counts on this machine.

    >>> Processes().alone
    True
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls) -> Processes:
        """Returns what torchrun's variables say of this process; without them there is one.

        Raises:
            RecipeError: WORLD_SIZE is more than 1, but the other variables are not there.
        """
        if os.environ.get("WORLD_SIZE", "1") == "1":
            return ALONE
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        missing = [name for name in names if name not in os.environ]
        try:
            if missing:
                raise ValueError(f"{', '.join(missing)} not set")
            return cls(*(int(os.environ[name]) for name in names[:3]))
        except ValueError as error:
            raise RecipeError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but this is no process of torchrun: {error}.\n"
                "Unset WORLD_SIZE for one process, or start with: torchrun --nproc-per-node N -m netwright fit ..."
            ) from None

    @property
    def alone(self) -> bool:
        return self.world == 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        return self.rank, self.world

    def device(self, chosen: torch.device) -> torch.device:
        """Returns this process's own device of the kind that was chosen: the GPU with its local rank.

        Raises RecipeError as `check_device` does.
        """
        self.check_device(chosen)
        if self.alone or chosen.type == "cpu":
            return chosen
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def check_device(self, chosen: torch.device) -> None:
        """Raises RecipeError if this machine has fewer GPUs than processes, or a kind that cannot be shared out."""
        if self.alone or chosen.type == "cpu":
            return
        if chosen.type != "cuda":
            raise RecipeError(
                f"several processes train on cpu or cuda, not on {chosen.type}: give --device cpu"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise RecipeError(
                f"process {self.rank} has no GPU of its own: this machine has {torch.cuda.device_count()}.\n"
                "Start as many processes as there are GPUs, or give --device cpu."
            )

    def check_batch(self, batch: int) -> None:
        """Raises RecipeError if a batch is too small to give every process an example."""
        if batch < self.world:
            raise RecipeError(
                f"a batch of {batch} cannot be shared by {self.world} processes: data.batch counts the examples of "
                f"all processes together.\nGive --batch {self.world} or more, or fewer processes."
            )


ALONE = Processes()


def restarted() -> bool:
    """Whether the launcher has started this process again after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextlib.contextmanager
def joined(processes: Processes) -> Iterator[None]:
    """Makes this process one of the group inside the `with`; an error of one ends all, and is said once.

    The process whose error it is raises it, with its rank in the text if it is not the first; those that fail
    alike, or only because another has gone, end silently. A process group that is there already is used as it is.
    """
    if processes.alone or torch.distributed.is_initialized():
        yield
        return
    _end_if_given_up()
    store = _join()
    try:
        yield
    except Exception as error:
        raise _said_once(error, processes, store) from error
    finally:
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()


def _join() -> torch.distributed.Store:
    import torch.distributed as dist

    # NCCL begins with its first message: on a machine with GPUs that trains on the processor it never does.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    try:
        store, rank, world = next(dist.rendezvous("env://"))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            # The launcher keeps one store over its restarts, and the addresses of processes that are gone stand in it
            # (torch 2.13). With launchers on several machines their counts of restarts need not agree.
            store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingFailed(f"the processes could not find each other: {reason}") from error
    return store


def _said_once(error: Exception, processes: Processes, store: torch.distributed.Store) -> BaseException:
    """Returns what this process raises for `error`: the error, or a silent end with its exit code."""
    code = error.exit_code if isinstance(error, NetwrightError) else 1
    if _lost_another(error):
        # The launcher ends this process as soon as it sees the one that failed, whose message is the one to read.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(SECONDS_TO_BE_ENDED)
        return TrainingFailed(
            f"process {processes.rank} lost the others, one of which has ended: {str(error).splitlines()[0]}"
        )
    text = f"{type(error).__name__}: {error}"
    _give_up(str(error), code if isinstance(error, NetwrightError) else None)
    try:
        if processes.first:
            store.set("netwright/failed", text)
            return error
        if _heard(store, "netwright/failed") == text or store.add("netwright/failed others", 1) > 1:
            return SystemExit(code)
    except RuntimeError:  # the store has gone with the first process, whose error is the one to read
        if not processes.first:
            return SystemExit(code)
    if isinstance(error, NetwrightError) and not processes.first:
        error.args = (f"process {processes.rank}: {error}", *error.args[1:])
    return error


def _heard(store: torch.distributed.Store, key: str) -> str | None:
    until = time.monotonic() + SECONDS_TO_HEAR_OF_THE_FIRST
    while time.monotonic() < until:
        if store.check([key]):
            return store.get(key).decode()
        time.sleep(0.02)
    return None


# PyTorch has classes for some of these errors only; gloo's come as RuntimeError.
_LOST = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Timed out waiting|Broken pipe", re.ASCII)


def _lost_another(error: BaseException) -> bool:
    """Whether an error only says that another process has gone."""
    if isinstance(error, NetwrightError):
        return False
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
    )


def _give_up(message: str, code: int | None) -> None:
    """Leaves the error where PyTorch's launcher looks for it; with a `code`, starting again would not help."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path:
        return
    extra = {"py_callstack": "", "timestamp": str(int(time.time())), "netwright_exit_code": code}
    with contextlib.suppress(OSError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"message": {"message": message, "extraInfo": extra}}))


def _end_if_given_up() -> None:
    """Ends this process if the one before the restart had an error that starting again does not mend."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not (path and restarted()):
        return
    # .../attempt_1/<local rank>/error.json
    for earlier in Path(path).parents[2].glob("attempt_*/*/error.json"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            code = json.loads(earlier.read_text())["message"]["extraInfo"]["netwright_exit_code"]
            if code is not None:
                raise SystemExit(code)


def agreed(value: Any, processes: Processes) -> Any:
    """Returns the first process's `value` in every process."""
    if processes.alone:
        return value
    held = [value if processes.first else None]
    torch.distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def wait_for_all(processes: Processes) -> None:
    """Returns when every process has come here."""
    if not processes.alone:
        torch.distributed.all_reduce(torch.zeros(1))


def first_of_each_machine_first(build: Callable[[], Result], processes: Processes) -> Result:
    """Returns build(), called by one process of each machine before the others: it may download."""
    if processes.alone:
        return build()
    if processes.local_rank == 0:
        built = build()
        wait_for_all(processes)
        return built
    wait_for_all(processes)
    return build()


def total(value: Tensor, processes: Processes) -> Tensor:
    """Returns the sum of `value` over the processes; each must ask at the same time."""
    if processes.alone:
        return value
    value = value.clone()
    torch.distributed.all_reduce(value)
    return value


def gathered(own: Tensor, count: int, processes: Processes) -> Tensor:
    """Returns the rows of all processes, `(count, ...)`, from this one's of equal number, without what only fills up.

    `own` has ceil(count / world) rows: those that `share_of` gives this process, and one more if these are fewer.
    """
    from netwright.data.order import share_of

    parts = [torch.empty_like(own) for _ in range(processes.world)]
    torch.distributed.all_gather(parts, own.contiguous())
    sizes = [share_of(count, (rank, processes.world)) for rank in range(processes.world)]
    return torch.cat([part[: rows.stop - rows.start] for part, rows in zip(parts, sizes, strict=True)])


def parallel(network: nn.Module, processes: Processes, *, example: Tensor) -> nn.Module:
    """Returns what the training step calls instead of `network`, so that gradients are means over the processes.

    The weights and buffers of the first process are taken by all. `example` `(1, ...)` is one prepared input. The
    running statistics of a batch norm are those of the first process's part of the batches.

    Raises:
        NetworkError: PyTorch cannot train this network in several processes.
    """
    from torch.nn.parallel import DistributedDataParallel

    device = example.device
    try:
        return DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            # Looked for only where there are some: it costs a walk over the graph at each step.
            find_unused_parameters=_has_unused(network, example),
            # Gradients lie where they are exchanged from: no copy of them at each step.
            gradient_as_bucket_view=True,
        )
    except RuntimeError as error:
        if _lost_another(error):
            raise
        raise NetworkError(f"several processes cannot train this network: {error}") from error


def _has_unused(network: nn.Module, example: Tensor) -> bool:
    """Whether the loss of an output leaves a trainable parameter without a gradient."""
    from netwright.training.evaluation import modes_kept

    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with modes_kept(network), torch.random.fork_rng(devices=[]):
        network.eval()  # so that a batch norm counts nothing
        outputs = network(example)
    found = torch.autograd.grad(outputs.sum(), trained, allow_unused=True)
    return any(gradient is None for gradient in found)


def shard(
    network: nn.Module, processes: Processes, *, device: torch.device, minimum: int = SHARD_BYTES
) -> None:
    """Divides the parameters of `network` among the processes, in place (FSDP2): each keeps its part of every one.

    Each child of the network is gathered by itself when it is called, if its parameters take at least `minimum`
    bytes and it shares none with another; Sequential, ModuleList and ModuleDict count as their children.
    Everything else is gathered with the root. The first process's weights and buffers are taken by all.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    take_from_first([*network.parameters(), *network.buffers()], processes)
    mesh = init_device_mesh(device.type, (processes.world,))
    children = list(_children(network))
    for child in children:
        own = set(child.parameters())
        others = {parameter for other in children if other is not child for parameter in other.parameters()}
        size = sum(parameter.numel() * parameter.element_size() for parameter in own)
        if size >= minimum and not own & others:
            fully_shard(child, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _children(network: nn.Module) -> Iterator[nn.Module]:
    for child in network.children():
        if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            yield from _children(child)
        else:
            yield child


def is_sharded(network: nn.Module) -> bool:
    """Whether `shard` has divided this network."""
    if "torch.distributed.fsdp" not in sys.modules:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(network, FSDPModule)


def divide_again(network: nn.Module) -> None:
    """Takes a sharded network apart again where a call without a backward pass has left it put together."""
    if is_sharded(network):
        sharded: Any = network
        sharded.reshard()


@torch.no_grad()
def take_from_first(tensors: list[Tensor], processes: Processes) -> None:
    """Overwrites tensors with the first process's."""
    if not processes.alone:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, src=0)


@contextlib.contextmanager
def without_exchange(network: nn.Module) -> Iterator[None]:
    """Lets a backward pass inside the `with` add to this process's gradients only; the next one outside exchanges them."""
    from torch.nn.parallel import DistributedDataParallel

    if isinstance(network, DistributedDataParallel):
        with network.no_sync():
            yield
        return
    sharded: Any = network
    sharded.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        sharded.set_requires_gradient_sync(True)


def whole_weights(network: nn.Module) -> dict[str, Tensor]:
    """Returns the state dict of a network; of a sharded one the whole tensors, on the CPU, in the first process only.

    Every process must ask at the same time.
    """
    if not is_sharded(network):
        return network.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_model_state_dict(network, options=whole))  # type: ignore[arg-type]


def put_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Loads a state dict into a network: whole tensors, also into a sharded one, or its own parts."""
    if not is_sharded(network) or any(hasattr(value, "device_mesh") for value in weights.values()):
        network.load_state_dict(weights)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    # A file's names come in any order; the messages about them must come in the same one everywhere.
    ordered: dict[str, Any] = {name: weights[name] for name in network.state_dict()}
    set_model_state_dict(network, {**ordered}, options=StateDictOptions(full_state_dict=True))


def part_of_the_batch(network: nn.Module, batch: int, processes: Processes) -> str | None:
    """Returns, for people, what of this network depends on how many processes share a batch; None if nothing does."""
    if processes.alone or not any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()
    ):
        return None
    return (
        f"batch norm sees each process's part of a batch ({batch // processes.world} of {batch} examples): the weights "
        "are not quite those of one process"
    )


class Agreement:
    """Lets all processes save or stop after the same step, though a signal or a clock reaches each at another one.

    They ask each other every quarter of a second or so, not at every step: the first process says after how many.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes, self._alone = processes, processes.alone
        self._left, self._interval, self._asked = 1, 1, time.monotonic()
        self._launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None

    def __call__(self, *, save: bool, stop: int) -> tuple[bool, int]:
        """Returns whether to save now and the signal to obey (0: none), the same in every process."""
        if self._alone:
            return save, stop
        self._left -= 1
        if self._left > 0:
            return False, 0
        now = time.monotonic()
        each = (now - self._asked) / self._interval
        interval = min(max(int(SECONDS_BETWEEN_AGREEMENTS / max(each, 1e-6)), 1), 1000)
        if self._launcher not in (None, os.getppid()):
            stop = signal.SIGTERM  # the launcher is gone, and with it whoever could end this process
        first = self.processes.first
        asked = torch.tensor([save and first, stop, interval if first else 0], dtype=torch.int64)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        any_save, any_stop, self._interval = asked.tolist()
        self._left, self._asked = self._interval, time.monotonic()
        return bool(any_save), any_stop

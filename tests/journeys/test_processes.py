"""Several processes, as a person starts them: `--processes N`, `torchrun`, and two machines that are network namespaces.

Weights are compared with those of one process at the same global batch: they differ by rounding alone (by 4e-7 of the largest
weight at most in the 14 steps of tests/training/test_distributed.py); after the up to 300 steps here 1e-4 is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no gloo",
)

# 210 of digits' training examples in batches of 32: the last one has 18.
FIT = (
    *("fit", "digits", "--limit", 210, "--batch", 32, "--optimizer", "sgd-momentum", "--lr", 0.05, "--json"),
    *("--set", "checkpoint.keep=last"),
)
SMALL = ("--set", "network.hidden=[16]")
SHORT = (*FIT, "--epochs", 3)
LONG = (*FIT, *SMALL, "--epochs", 40, "--no-examine", "--set", "checkpoint.every_steps=4")

NETWORK = """
import os, signal
from torch import nn
from netwright.errors import DataError

class Network(nn.Module):
    '''A layer that does `HOW` in the second process at its 12th training step, before any restart.'''
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.layer, self.steps = nn.Linear(64, num_outputs), 0
    def forward(self, x):
        self.steps += self.training
        first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
        if self.training and self.steps == 12 and os.environ.get("RANK") == "1" and first_try:
            if os.environ["HOW"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise DataError("this example is not what it was")
        return self.layer(x.flatten(1))
"""


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, forked: Any) -> Callable[..., Path]:
    """alone(netwright, *command): the run that one process makes of a command; made once."""
    known: dict[Any, Path] = {}

    def made(netwright: Any, *command: Any) -> Path:
        if command not in known:
            known[command] = tmp_path_factory.mktemp("alone") / "run"
            netwright(*command, "--out", known[command])
        return known[command]

    return made


@pytest.fixture
def network(folder: Path) -> str:
    (folder / "network.py").write_text(NETWORK)
    return f"{folder / 'network.py'}:Network"


def assert_same(run: Path, expected: Path, *, to: float = 1e-4) -> None:
    found, wanted = (load_file(path / "model.safetensors") for path in (run, expected))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() / value.abs().max() < to, name
    for one, other in zip(epochs(run), epochs(expected), strict=True):
        # How layers fared is told by one process alone: several hold parts of the gradient.
        found, wanted = (
            {key: value for key, value in record.items() if key != "layers"} for record in (one, other)
        )
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def epochs(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "best")}
        for line in lines
        if "train_loss" in line
    ]


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*")) if (run / "checkpoints").is_dir() else []


def left_behind(folder: Path) -> list[str]:
    """Command lines of the processes that still work in a folder (Linux; elsewhere nothing is looked at)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is another person's
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return [line for line in found if "-m netwright" in line]


@pytest.mark.slow
def test_two_processes_make_the_run_that_one_makes(netwright: Any, alone: Any, folder: Path) -> None:
    ended = netwright(*SHORT, *SMALL, "--processes", 2)
    run = folder / "runs" / "digits-mlp-1"
    assert ended.json["run"] == "runs/digits-mlp-1"
    expected = alone(netwright, *SHORT, *SMALL)
    assert_same(run, expected)
    assert ended.stderr.count("epoch 1/3") == 1
    assert "2 processes which share the batch" in ended.stderr
    assert "Warning" not in ended.stderr
    test = json.loads((expected / "result.json").read_text())["test"]
    assert ended.json["test"]["confusion"] == test["confusion"]
    assert ended.json["weights_sha256"] != ""
    assert json.loads((run / "environment.json").read_text())["processes"] == 2
    for name in ("report.html", "findings.json", "recipe.yaml"):
        assert (run / name).is_file()
    assert all(path.is_dir() for path in checkpoints(run)) and len(checkpoints(run)) == 2
    assert netwright("test", "runs/digits-mlp-1", "--json").json["test"]["accuracy"] == test["accuracy"]


@pytest.mark.slow
def test_the_error_of_one_process_ends_all_and_is_said_once(netwright: Any, network: str) -> None:
    ended = netwright(
        *SHORT, "--network", network, "--no-examine", "--quiet", "--processes", 2, "--restarts", 1, "--out", "run",
        env={"HOW": "raise"}, code=2,
    )  # fmt: skip
    assert ended.stderr.strip() == "netwright: process 1: this example is not what it was"
    assert ended.stdout == ""
    assert not left_behind(netwright.folder)


@pytest.mark.slow
def test_an_error_of_all_processes_is_said_once(netwright: Any) -> None:
    ended = netwright("fit", "digits", "--optimizer", "addam", "--quiet", "--processes", 2, code=2)
    assert ended.stderr.count("unknown optimizer 'addam'") == 1
    assert ended.stderr.startswith("netwright: unknown") and "Traceback" not in ended.stderr


@pytest.mark.slow
def test_a_process_is_killed_and_all_start_again(
    netwright: Any, alone: Any, network: str, folder: Path
) -> None:
    """With a sharded network and an average, so that their checkpoint is put together again too."""
    command = (*SHORT, "--network", network, "--no-examine", "--set", "checkpoint.every_steps=4")
    command = (*command, "--set", "train.ema=0.8")
    ended = netwright(
        *command,
        "--set",
        "train.shard=true",
        "--processes",
        2,
        "--restarts",
        1,
        "--out",
        "run",
        env={"HOW": "kill"},
    )
    assert "share its weights" in ended.stderr
    assert ended.json["steps"] == 21
    assert_same(folder / "run", alone(netwright, *command))


@pytest.mark.slow
def test_a_process_is_killed_and_another_number_goes_on(
    netwright: Any, alone: Any, network: str, folder: Path
) -> None:
    command = (*SHORT, "--network", network, "--no-examine", "--set", "checkpoint.every_steps=4")
    ended = netwright(*command, "--quiet", "--processes", 2, "--out", "run", env={"HOW": "kill"}, code=1)
    assert "process 1 was ended by SIGKILL" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2
    assert not left_behind(netwright.folder)
    (folder / "run" / "checkpoints" / ".writing-step-00000099").mkdir()
    netwright("resume", "run", env={"HOW": "nothing"})
    assert_same(folder / "run", alone(netwright, *command))
    assert not list((folder / "run" / "checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_end_saves_first(netwright: Any, alone: Any, folder: Path, number: int, code: int) -> None:
    run = folder / "run"
    process = netwright.start(*LONG, "--processes", 2, "--out", "run")
    process.until(lambda: checkpoints(run))
    process.send(number)
    ended = process.end()
    assert ended.code == code, ended.stderr
    assert ended.stdout == "" and "Traceback" not in ended.stderr and "Warning" not in ended.stderr
    assert ended.stderr.count("go on with: netwright resume run") == 1
    step = int(ended.stderr.split("stopped after step ")[1].split()[0])
    assert checkpoints(run)[-1].name.startswith(f"step-{step:08d}-")
    assert not (run / "report.html").exists() and not left_behind(netwright.folder)
    if number == signal.SIGTERM:
        netwright("resume", "run", "--processes", 2)
        assert_same(run, alone(netwright, *LONG))


@pytest.mark.slow
def test_several_go_on_with_what_one_began(netwright: Any, alone: Any, folder: Path) -> None:
    run = folder / "run"
    process = netwright.start(*LONG, "--out", "run")
    process.until(lambda: len(checkpoints(run)) == 2)
    process.send(signal.SIGKILL)
    process.end()
    assert checkpoints(run)[-1].suffix == ".pt"
    ended = netwright("resume", "run", "--processes", 2)
    assert "2 processes go on with a run of 1" in ended.stderr
    assert_same(run, alone(netwright, *LONG))


BAD = [
    (("--processes", 0), "--processes is a whole number of at least 1, not '0'"),
    (("--processes", "two"), "not 'two'"),
    (("--processes", 2, "--restarts", -1), "--restarts is a whole number of at least 0"),
    (("--restarts", 2), "--restarts needs --processes"),
    (("--processes", 8, "--batch", 7), "a batch of 7 cannot be shared by 8 processes"),
    (("--processes", 2, "--optimizer"), "--optimizer"),
    (("--processes", 2, "--set", "train.shard=maybe"), "train.shard"),
]


@pytest.mark.parametrize(("options", "said"), BAD, ids=[said for _, said in BAD])
def test_what_cannot_be_is_said_before_anything_starts(
    netwright: Any, options: tuple[Any, ...], said: str
) -> None:
    ended = netwright("fit", "digits", *options, code=2)
    assert said in ended.stderr and len(ended.stderr.splitlines()) <= 3
    assert "Traceback" not in ended.stderr
    assert not (netwright.folder / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_are_not_there(netwright: Any) -> None:
    ended = netwright("fit", "digits", "--processes", 2, "--device", "cuda", code=2)
    assert "cuda" in ended.stderr and "Traceback" not in ended.stderr


def test_processes_inside_torchrun(netwright: Any) -> None:
    inside = {"WORLD_SIZE": "1", "RANK": "0"}
    ended = netwright("fit", "digits", "--processes", 2, code=2, env=inside)
    assert "--processes inside torchrun" in ended.stderr
    ended = netwright("fit", "digits", code=2, env={"WORLD_SIZE": "2"})
    assert "WORLD_SIZE is 2" in ended.stderr and "not set" in ended.stderr


def test_a_run_of_python_objects_cannot_be_launched(netwright: Any, run: Path) -> None:
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("name: mlp", "name: (a Python object)"))
    (run / "result.json").unlink()
    ended = netwright("resume", "run", "--processes", 2, code=2)
    assert "Python object" in ended.stderr and "torchrun" in ended.stderr


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def two_machines() -> Iterator[list[tuple[str, str, str]]]:
    """Two network namespaces with a cable between them: (namespace, interface, address) of each."""
    machines = [
        (f"nw{os.getpid()}{end}", f"nw{os.getpid()}{end}", f"10.213.77.{n}")
        for n, end in ((1, "a"), (2, "b"))
    ]
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command to make network namespaces with")
    try:
        for name, _, _ in machines:
            ip("netns", "add", name)
        ip("link", "add", machines[0][1], "type", "veth", "peer", "name", machines[1][1])
        for name, interface, address in machines:
            ip("link", "set", interface, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", interface)
            ip("-n", name, "link", "set", interface, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        for name, _, _ in machines:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.decode().strip()}")
    yield machines
    for name, _, _ in machines:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.slow
def test_two_machines(netwright: Any, alone: Any, folder: Path, two_machines: Any) -> None:
    """torchrun on each, as its own documentation says, in a folder that both see."""
    started = []
    for number, (name, interface, address) in enumerate(two_machines):
        command = [
            *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
            *(
                "--nproc-per-node",
                "1",
                "--node-rank",
                str(number),
                "--rdzv-id",
                "two",
                "--rdzv-backend",
                "c10d",
            ),
            *("--rdzv-endpoint", f"{two_machines[0][2]}:29431", "--local-addr", address),
            # Whose the endpoint is torchrun asks the machine's name, which these two have in common.
            *("--rdzv-conf", f"is_host={1 - number}", "-m", "netwright"),
            *map(str, (*SHORT, *SMALL)),
        ]
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": interface, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
        started.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    said = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    printed = [output for output, _ in said if output]
    assert len(printed) == 1, "one of them prints the result"
    assert_same(folder / json.loads(printed[0])["run"], alone(netwright, *SHORT, *SMALL))

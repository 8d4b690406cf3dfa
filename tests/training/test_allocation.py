"""Memory that a step frees is there for the next one: counted in page faults, not in seconds."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")

CODE = """
import resource, torch
from torch import nn
from netwright.training.allocation import give_back, memory_kept
from netwright.training.loop import train

BLOCK = 48 << 20  # above the largest that glibc keeps by itself

def faults(count=5):
    '''Page faults for each page of a block that is taken, written and freed.'''
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.empty(BLOCK // 4).fill_(1.0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / count / (BLOCK / 4096)

def kept():
    '''Whether blocks are used again; it takes some rounds until each finds a place that was left.'''
    faults(12)
    return faults() < 0.01

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def given_back(before):
    return resident() < before + BLOCK / 2

cpu, cuda = torch.device("cpu"), torch.device("cuda")
assert faults() > 0.9
start = resident()
"""


def run(code: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", CODE + code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_blocks_are_kept_inside_and_given_back_after_the_outermost() -> None:
    said = run(
        "with memory_kept(cpu):\n"
        "    with memory_kept(cpu): inner = kept()\n"
        "    between = given_back(start), kept()\n"
        "print(inner, *between, given_back(start))"
    )
    assert said == "True False True True"


def test_what_is_free_goes_back_between_two_phases() -> None:
    said = run(
        "with memory_kept(cpu):\n"
        "    before = kept(), given_back(start)\n"
        "    give_back(cuda); other = given_back(start)\n"
        "    give_back(cpu); print(*before, other, given_back(start), kept())"
    )
    assert said == "True False False True True"
    assert run("give_back(cpu); print(faults() > 0.9)") == "True"


def test_another_device_and_what_the_environment_decides_are_left_alone() -> None:
    assert run("with memory_kept(cuda): print(kept())") == "False"
    code = "with memory_kept(cpu): print(kept())"
    assert run(code) == "True"
    assert run(code, MALLOC_TRIM_THRESHOLD_="100000000") == "False"
    assert run(code, GLIBC_TUNABLES="glibc.malloc.mmap_threshold=1000000") == "False"


def test_it_is_given_back_after_an_error() -> None:
    said = run(
        "try:\n"
        "    with memory_kept(cpu): print(kept(), given_back(start)); raise ValueError\n"
        "except ValueError: print(given_back(start))"
    )
    assert said.split() == ["True", "False", "True"]


def test_a_loop_of_ones_own_keeps_it_and_an_end_in_the_middle_gives_it_back() -> None:
    said = run(
        "network = nn.Linear(4, 2)\n"
        "batches = [(torch.zeros(8, 4), torch.zeros(8, dtype=torch.long))] * 4\n"
        "print([kept() for step in train(network, batches, epochs=1, device='cpu')], given_back(start))\n"
        "steps = train(network, batches, epochs=1, device='cpu')\n"
        "next(steps)\n"
        "print(kept(), given_back(start), steps.close(), given_back(start))"
    )
    assert said.splitlines() == ["[True, True, True, True] True", "True False None True"]

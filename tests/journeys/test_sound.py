"""A folder of recordings, as a person trains on it: fitted, killed, resumed, tested, asked, ejected."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

soundfile = pytest.importorskip("soundfile")

SETTINGS = (
    *("--quiet", "--json", "--batch", 8, "--set", "network.channels=[4,8]", "--set", "sound.mels=16"),
    *(
        "--set",
        "augment.time_shift=0.05",
        "--set",
        "augment.mask_time=0.05",
        "--set",
        "augment.mask_frequency=4",
    ),
)
FIT = ("fit", "sounds", "--network", "cnn", *SETTINGS)


@pytest.fixture
def sounds(folder: Path) -> Path:
    """Two classes of 40 recordings of a quarter to half a second: tones that rise, and tones that fall."""
    rng = np.random.default_rng(0)
    for name, slope in (("falling", -1), ("rising", 1)):
        (folder / "sounds" / name).mkdir(parents=True)
        for index in range(40):
            time = np.arange(int(8000 * rng.uniform(0.25, 0.5))) / 8000
            hertz = rng.uniform(800, 1200) + slope * 1200 * (time - time.mean())
            wave = 0.3 * np.sin(2 * np.pi * hertz * time) + rng.normal(0, 0.01, len(time))
            soundfile.write(folder / "sounds" / name / f"{index:02}.wav", wave, 8000)
    return folder / "sounds"


def test_fitted_tested_and_asked(netwright: Any, sounds: Path) -> None:
    ended = netwright(*FIT, "--epochs", 6, "--out", "run")
    result = ended.json
    assert result["test"]["accuracy"] > 0.85 and result["findings"] == []
    assert netwright("test", "run", "--json").json["test"] == result["test"]
    again = netwright("test", "run", "--data", "sounds", "--json").json["test"]
    assert sum(entry["support"] for entry in again["per_class"]) == 80 and again["accuracy"] > 0.85

    file = sounds / "rising" / "03.wav"
    answers = netwright("predict", "run", file, "sounds/falling", "--json").json
    assert len(answers) == 41 and answers[0]["input"] == str(file)
    assert [answer["label"] for answer in answers].count("falling") > 34
    wave = soundfile.read(file)[0]
    typed = netwright("predict", "run", "-", "--json", stdin=str([wave.tolist()])).json[0]
    assert typed["probabilities"] == pytest.approx(answers[0]["probabilities"], abs=1e-4)
    refused = netwright("predict", "run", "run/recipe.yaml", code=2)
    assert "expected a recording" in refused.stderr and len(refused.stderr.splitlines()) <= 4


def test_nothing_said_of_the_network(netwright: Any, sounds: Path) -> None:
    """A folder of recordings has a recipe of its own, convolutions and all; what is misjudged is shown as a spectrogram."""
    said = netwright("fit", "sounds", "--epochs", 1, "--out", "run").stderr
    assert "log-mel spectrogram of" in said and "get silence on both sides" in said
    assert (
        "training recordings are moved by up to 0.1 s" in said
        and "sounds · cnn" in netwright("test", "run").stdout
    )
    recipe = (netwright.folder / "run" / "recipe.yaml").read_text()
    assert "name: cnn" in recipe and "mask_frequency: 12" in recipe
    page = (netwright.folder / "run" / "report.html").read_text()
    assert (".wav" in page) == ("data:image/png" in page)
    other = netwright(
        "fit", "sounds", "--network", "sound-rnn", "--epochs", 1, "--out", "other", "--json"
    ).json
    assert other["parameters"] > 100_000
    recipe = (netwright.folder / "other" / "recipe.yaml").read_text()
    assert "name: sound-rnn" in recipe and "mask_frequency: 12" in recipe and "channels" not in recipe


@pytest.mark.parametrize("stream", ["false", "true"])
def test_killed_within_an_epoch_and_resumed(netwright: Any, sounds: Path, stream: str) -> None:
    command = (*FIT, "--epochs", 4, "--no-examine", "--set", "checkpoint.every_steps=3")
    whole = netwright(*command, "--out", "whole").json
    run = netwright.folder / "run"
    process = netwright.start(*command, "--set", f"data.stream={stream}", "--out", "run")

    def steps() -> list[int]:
        return sorted(int(path.stem.split("-")[1]) for path in (run / "checkpoints").glob("step-*.pt"))

    process.until(lambda: run.exists() and any(step >= 12 for step in steps()))
    process.send(signal.SIGKILL)
    process.end()
    ended = netwright("resume", "run", "--quiet", "--json").json
    assert ended["weights_sha256"] == whole["weights_sha256"] and ended["test"] == whole["test"]


@pytest.mark.parametrize("network", ["cnn", "sound-rnn", "streamed"])
def test_the_ejected_script_gives_the_same_weights(
    netwright: Any, script: Any, weights_sha256: Any, sounds: Path, network: str
) -> None:
    """Whatever the files are: resampled, of two channels, one left out."""
    soundfile.write(sounds / "rising" / "99.flac", np.random.default_rng(0).normal(0, 0.1, (9000, 2)), 22050)
    (sounds / "falling" / "98.wav").write_bytes(b"")
    own = {
        "cnn": SETTINGS,
        "sound-rnn": (*SETTINGS[:4], "--set", "network.hidden=8", "--network", "sound-rnn"),
        "streamed": (*FIT[2:], "--set", "data.stream=true"),
    }[network]
    ended = netwright(
        *("fit", "sounds", *own, "--epochs", 2, "--set", "checkpoint.keep=last", "--out", "run"),
        *(
            "--no-examine",
            "--set",
            "data.unreadable=0.05",
            *(["--network", "cnn"] if network == "cnn" else []),
        ),
    )
    assert "1 unreadable files are left out" in ended.stderr
    (netwright.folder / "train.py").write_text(netwright("eject", "run").stdout)
    script(netwright.folder / "train.py")
    written = torch.load(netwright.folder / "weights.pt", weights_only=True)
    final = load_file(netwright.folder / "run" / "model.safetensors")
    assert [name for name in final if not torch.equal(written[name], final[name])] == []
    assert weights_sha256(written) == ended.json["weights_sha256"]


def test_what_cannot_be_is_said_in_a_few_lines(netwright: Any, sounds: Path) -> None:
    for words, message in (
        (("--set", "sound.mels=0"), "sound.mels should be"),
        (("--set", "sound.seconds=0.001"), "shorter than one window"),
        (("--set", "augment.flip=true"), "augment.flip changes images"),
        (("--set", "sound.rates=8000"), "did you mean 'sound.rate'"),
        (("--network", "sound-rnn", "--set", "network.cell=gruu"), "`cell` expects gru or lstm"),
    ):
        refused = netwright("fit", "sounds", *words, code=2)
        lines = refused.stderr.splitlines()
        assert message in refused.stderr and "Traceback" not in refused.stderr
        assert (
            len([line for line in lines if not line.startswith(("  ", "sounds:", "2 classes", "input"))]) <= 4
        )
    shutil.rmtree(sounds / "rising")
    assert "one class only" in netwright("fit", "sounds", code=2).stderr


def test_the_example_is_the_recipe_of_such_a_folder(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.recipe import Recipe

    example = Recipe.read(Path(__file__).parents[2] / "examples" / "spoken_digits.yaml")
    monkeypatch.chdir(sounds.parent)
    sounds.rename(example["data"]["source"])
    assert Recipe.build(example) == Recipe.build({"data.source": example["data"]["source"]})


@pytest.mark.slow
def test_spoken_digits(netwright: Any, folder: Path) -> None:
    """The example as it stands in examples/README.md, but for fewer epochs; takes 0 to 4 of each speaker are the test set."""
    given = os.environ.get("NETWRIGHT_DATA")
    if not given:
        pytest.skip("NETWRIGHT_DATA is not set")
    import importlib.util

    path = Path(__file__).parents[2] / "examples" / "spoken_digits.py"
    spec = importlib.util.spec_from_file_location("spoken_digits", path)
    assert spec and spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.unpack(Path(given) / "fsdd" / "fsdd_recordings.tar.gz", folder / "spoken") == 3000
    result = netwright("fit", "spoken", "--epochs", 3, "--out", "run", "--json").json
    assert sum(entry["support"] for entry in result["test"]["per_class"]) == 300
    assert result["test"]["accuracy"] > 0.9

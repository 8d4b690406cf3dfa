"""Recordings: what soundfile reads, by stated rules; spectrograms against SciPy; every folder that cannot be loaded."""

import io
import math
import sys
from collections import Counter

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F

from netwright.data import FeaturePreparation, Preparation, load
from netwright.data.media import RECORDINGS, find_inputs
from netwright.data.recordings import fitted_waveform
from netwright.data.sound import SoundPreparation, log_mel, mel_filters
from netwright.data.sound_augmentation import SoundAugmentation, masked, shifted
from netwright.errors import DataError, UnknownNameError

soundfile = pytest.importorskip("soundfile")


def tone(hertz, *, seconds=0.5, rate=8000, seed=0, level=0.3):
    """A tone of 16 bits with a little noise, so that no two are equal."""
    noise = np.random.default_rng(seed).normal(0, 0.01, round(seconds * rate))
    return (level * np.sin(2 * np.pi * hertz * np.arange(len(noise)) / rate) + noise).astype(np.float32)


@pytest.fixture
def record():
    """Writes a recording and returns its path."""

    def write(path, wave=None, rate=8000, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(440, rate=rate) if wave is None else wave, rate, **options)
        return path

    return write


@pytest.fixture
def tones(tmp_path, record):
    """Two classes of ten recordings each, low and high, half a second at 8 kHz."""
    for label, name in enumerate(("high", "low")):
        for index in range(10):
            hertz = (1500, 300)[label] + 20 * index
            record(tmp_path / "tones" / name / f"{index}.wav", tone(hertz, seed=10 * label + index))
    return tmp_path / "tones"


def whole(folder, **options):
    return load(folder, test_share=0, validation=0, **options)


def notes(data):
    return "\n".join(data.notes)


# The mel scale and the spectrogram


def mel(hertz):
    return 2595 * math.log10(1 + hertz / 700)


def test_the_mel_scale_is_the_one_that_goes_through_1000():
    # The HTK Book 3.4, equation 5.13: made so that 1000 Hz are 1000 mel.
    assert mel(1000) == pytest.approx(1000, abs=0.02)


@pytest.mark.parametrize(("rate", "fft", "mels"), [(8000, 256, 40), (16000, 512, 64), (44100, 2048, 128)])
def test_filters_are_triangles_equally_far_apart_in_mel(rate, fft, mels):
    filters = mel_filters(rate, fft, mels).double().numpy()
    hertz = np.fft.rfftfreq(fft, 1 / rate)
    corners = [700 * (10 ** (place / 2595) - 1) for place in np.linspace(0, mel(rate / 2), mels + 2)]
    for row, (left, middle, right) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        np.testing.assert_allclose(
            filters[row], np.interp(hertz, [left, middle, right], [0, 1, 0]), atol=1e-6
        )
    assert filters.shape == (mels, fft // 2 + 1)


@pytest.mark.parametrize(("window", "hop", "fft"), [(200, 80, 256), (256, 64, 256), (160, 100, 512)])
def test_log_mel_is_what_scipy_computes(window, hop, fft):
    waves = np.random.default_rng(0).normal(0, 0.1, (3, 4001))
    waves[1, 1000:] = 0  # silence, to which the 80 dB matter
    filters = mel_filters(8000, fft, 30)
    taper = scipy.signal.windows.hann(window, sym=False)
    around = np.pad(taper, ((fft - window) // 2, fft - window - (fft - window) // 2))
    padded = np.pad(waves, ((0, 0), (fft // 2, fft // 2)))
    _, _, expected = scipy.signal.stft(
        padded, window=around, nperseg=fft, noverlap=fft - hop, boundary=None, padded=False
    )
    power = np.abs(expected * around.sum()) ** 2  # scipy divides by the window's sum
    heard = filters.double().numpy() @ power
    bels = np.maximum(np.log10(heard / heard.max((1, 2), keepdims=True) + 1e-30), -8)
    came = log_mel(torch.tensor(waves), filters, torch.hann_window(window), hop=hop, fft=fft)
    assert came.shape == (3, 1, 30, 1 + 4001 // hop) and came.dtype == torch.float32
    np.testing.assert_allclose(came[:, 0].numpy(), bels, atol=2e-3)


def test_a_tone_sounds_in_its_own_band_and_silence_is_level():
    prepare = SoundPreparation((8000,), rate=8000, mels=40, window=200, hop=80)
    bands = prepare(torch.from_numpy(tone(1000, seconds=1))[None])[0, 0].mean(1)
    centres = [700 * (10 ** (place / 2595) - 1) for place in np.linspace(0, mel(4000), 42)[1:-1]]
    assert int(bands.argmax()) == int(np.abs(np.array(centres) - 1000).argmin())
    silence = prepare(torch.zeros(1, 8000))
    assert bool((silence == -8).all())


def test_its_picture_has_low_notes_below():
    prepare = SoundPreparation((8000,), rate=8000, mels=40, window=200, hop=80)
    low, high = (prepare.picture(torch.from_numpy(tone(hertz, seconds=1))) for hertz in (200, 3500))
    assert low.shape == (40, 101) and low.dtype == np.uint8 and low.max() == 255
    assert low.mean(1).argmax() > 30 and high.mean(1).argmax() < 5
    assert prepare.picture(torch.zeros(8000)).max() == 0


def test_how_loud_a_recording_is_counts_nothing():
    prepare = SoundPreparation((8000,), rate=8000, mels=40, window=200, hop=80)
    wave = torch.from_numpy(tone(700, seconds=1))[None]
    torch.testing.assert_close(prepare(wave * 0.001), prepare(wave), atol=1e-4, rtol=0)


def test_no_filter_is_empty_however_many():
    for mels in (10, 64, 200):
        prepare = SoundPreparation((8000,), rate=8000, mels=mels, window=200, hop=80)
        assert bool((prepare.filters.sum(1) > 0).all())
        assert prepare.fft >= 200 and math.log2(prepare.fft).is_integer()


def test_reduced_precision_around_it_changes_nothing():
    prepare = SoundPreparation((2000,), rate=8000, mels=20, window=200, hop=80)
    waves = torch.from_numpy(tone(500, seconds=0.25))[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = prepare(waves)
    assert inside.dtype == torch.float32 and torch.equal(inside, prepare(waves))


def test_a_preparation_comes_back_from_its_file():
    numbers = {"mean": [0.1 * band for band in range(20)], "std": [1 + 0.1 * band for band in range(20)]}
    prepare = SoundPreparation((2000,), rate=8000, mels=20, window=200, hop=80, **numbers)
    again = Preparation.from_dict(prepare.to_dict())
    waves = torch.from_numpy(np.stack([tone(500, seconds=0.25), tone(900, seconds=0.25)]))
    assert torch.equal(again(waves), prepare(waves)) and again.to_dict() == prepare.to_dict()
    assert torch.equal(prepare.prepare_fresh(waves.clone()), prepare(waves))
    assert prepare.prepared_shape == tuple(prepare(waves).shape[1:]) == (1, 20, 26)
    by_hand = (prepare.spectrogram(waves) - torch.tensor(numbers["mean"])[:, None]) / torch.tensor(
        numbers["std"]
    )[:, None]
    torch.testing.assert_close(prepare(waves), by_hand)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mels": 0}, "mels as a whole number above 0"),
        ({"hop": 2.5}, "hop as a whole number above 0"),
        ({"mels": 1000}, "at most 512"),
        ({"window": 1}, "window of 2"),
        ({"shape": (1, 2)}, r"shape as \(samples,\)"),
        ({"mean": [1.0, 2.0]}, "mel band"),
        ({"std": [0.0]}, "above 0"),
    ],
)
def test_a_preparation_that_cannot_be(change, message):
    entries = {"shape": (2000,), "rate": 8000, "mels": 20, "window": 200, "hop": 80} | change
    with pytest.raises(DataError, match=message):
        SoundPreparation(**entries)


# Files


def test_waveforms_are_those_that_soundfile_reads(tones):
    data = whole(tones)
    assert data.classes == ("high", "low") and data.train.inputs.shape == (20, 4000)
    assert data.input_shape == (1, 64, 51) and data.reading.kind == "sounds"
    for wave, target, name in zip(data.train.inputs, data.train.targets, data.train.names, strict=True):
        assert name.startswith(data.classes[target])
        np.testing.assert_array_equal(wave, soundfile.read(tones / name, dtype="float32")[0])
    x = data.train.prepared(slice(None))[0]
    assert x.mean((0, 1, 3)).abs().max() < 1e-4
    assert (x.std((0, 1, 3), correction=0) - 1).abs().max() < 1e-3
    assert not [note for note in data.notes if "recordings" in note]


def test_every_format_is_read(tmp_path, record):
    for index, ending in enumerate(("wav", "flac", "ogg", "mp3", "aiff", "au")):
        for name in "ab":
            record(tmp_path / name / f"{index}.{ending}", tone(300 + 50 * index, seed=index), 16000)
    data = whole(tmp_path, sound={"seconds": 0.2})
    assert len(data.train) == 12 and data.preparation.rate == 16000
    loudest = data.train.inputs[:6].double().numpy()
    for index, wave in enumerate(loudest):  # also those that lose something have their tone
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert spectrum.argmax() * 16000 / len(wave) == pytest.approx(600 + 100 * index, abs=10)


def test_the_commonest_rate_is_taken_and_others_resampled(tones, record):
    record(tones / "high" / "x.wav", tone(1700, rate=44100), 44100)
    record(tones / "low" / "y.wav", tone(250, rate=16000), 16000)
    data = whole(tones)
    assert data.preparation.rate == 8000
    assert "2 of 22 recordings (1 of 44,100 Hz, 1 of 16,000 Hz) are resampled to 8,000 Hz" in notes(data)
    row = data.train.names.index("high/x.wav")
    spectrum = data.train.inputs[row].double().numpy()
    spectrum = np.abs(np.fft.rfft(spectrum * np.hanning(len(spectrum))))
    assert spectrum.argmax() * 8000 / 4000 == pytest.approx(1700, abs=3)
    assert whole(tones, sound={"rate": 16000}).preparation.rate == 16000


def test_what_a_lower_rate_cannot_hold_is_gone():
    high = fitted_waveform(
        tone(6000, rate=44100, level=1.0) - tone(6000, rate=44100, level=0.0), 44100, 8000, 4000
    )
    low = fitted_waveform(
        tone(1000, rate=44100, level=1.0) - tone(1000, rate=44100, level=0.0), 44100, 8000, 4000
    )
    assert np.abs(high[200:-200]).max() < 0.01  # no alias at 2 kHz
    expected = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
    np.testing.assert_allclose(low[200:-200], expected[200:-200], atol=0.01)


def test_channels_are_averaged(tones, record):
    both = np.stack([tone(500, seed=1), tone(900, seed=2)], axis=1)
    record(tones / "low" / "stereo.wav", both, subtype="FLOAT")
    data = whole(tones)
    assert "1 of 21 recordings have several channels, which are averaged" in notes(data)
    wave = data.train.inputs[data.train.names.index("low/stereo.wav")]
    np.testing.assert_allclose(wave, both.mean(1), atol=1e-7)


def test_examples_are_as_long_as_95_of_100(tmp_path, record):
    for index in range(100):
        for name in "ab":
            wave = tone(300, seconds=0.1 + index / 1000, seed=index + ord(name))
            record(tmp_path / name / f"{index}.wav", wave)
    data = whole(tmp_path)
    lengths = sorted(800 + 8 * index for index in range(100) for _ in "ab")
    longer = Counter(length > data.preparation.shape[0] for length in lengths)
    assert 0 < longer[True] <= 10 and data.preparation.shape[0] in lengths
    assert f"{longer[True]} of 200 recordings are cut to their middle" in notes(data)
    assert whole(tmp_path, sound={"seconds": 0.05}).preparation.shape == (400,)
    assert "0.05 s, as asked: 200 of 200 recordings are cut" in notes(
        whole(tmp_path, sound={"seconds": 0.05})
    )


def test_cut_to_the_middle_and_silence_on_both_sides():
    assert fitted_waveform(np.arange(1, 8, dtype=np.float32), 8000, 8000, 3).tolist() == [3, 4, 5]
    assert fitted_waveform(np.float32([1, 2]), 8000, 8000, 5).tolist() == [0, 1, 2, 0, 0]


def test_long_recordings_are_not_taken_whole_unasked(tmp_path, record):
    for name in "ab":
        record(tmp_path / name / "0.wav", tone(300, seconds=12, rate=1000, seed=ord(name)), 1000)
    data = whole(tmp_path)
    assert data.preparation.seconds == 10 and "the longest that is taken unasked" in notes(data)
    assert whole(tmp_path, sound={"seconds": 12}).preparation.seconds == 12


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-2000])
    return path


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda record, file: cut_off(record(file)), "cut off: 6,000 of 8,000 bytes"),
        (lambda record, file: file.write_bytes(b""), "an empty file"),
        (lambda record, file: file.write_text("not a sound" * 50), "damaged, cut off, or no sound"),
        (lambda record, file: record(file, np.zeros(0, np.float32)), "no samples"),
        (lambda record, file: record(file, np.full(4000, np.nan, np.float32), subtype="FLOAT"), "NaN"),
        (lambda record, file: file.mkdir(), None),
    ],
)
def test_unreadable_recordings_are_counted_and_named(tones, record, break_it, reason):
    broken = tones / "low" / "broken.wav"
    break_it(record, broken)
    if reason is None:  # a folder with a file's name is just a folder
        assert len(whole(tones).train) == 20
        return
    with pytest.raises(DataError, match=r"1 of 21 recordings cannot be read, more than the 0\.01") as caught:
        load(tones)
    assert reason in str(caught.value) and "broken.wav" in str(caught.value)
    data = whole(tones, unreadable=0.05)
    assert len(data.train) == 20 and "1 of 21 recordings cannot be read and are left out" in notes(data)
    assert data.reading.options["unreadable"] == (str(broken),)


@pytest.mark.parametrize("ending", ["flac", "ogg", "mp3"])
def test_compressed_sound_that_was_cut_off_is_unreadable(tones, record, ending):
    file = record(tones / "low" / f"broken.{ending}", tone(300, seconds=3))
    assert len(whole(tones).train) == 21
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"broken\.{ending}: .*(cut off|no samples)"):
        load(tones)


def test_a_length_that_a_pipe_left_open_is_no_damage(tones, record):
    file = record(tones / "low" / "piped.wav")
    content = bytearray(file.read_bytes())
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    file.write_bytes(content)
    data = whole(tones)
    wave = data.train.inputs[data.train.names.index("low/piped.wav")]
    assert len(data.train) == 21 and float(wave.abs().max()) > 0.2


def test_silent_recordings_are_kept_and_named(tones, record):
    record(tones / "low" / "nothing.wav", np.zeros(4000, np.float32))
    data = whole(tones)
    assert "1 of 21 recordings are silent (all samples equal) and are kept: low/nothing.wav" in notes(data)
    assert bool(torch.isfinite(data.train.prepared(slice(None))[0]).all())


def test_a_class_without_a_readable_recording(tones, record):
    for file in (tones / "low").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the recordings of class 'low' in train can be read"):
        load(tones, unreadable=0.9)


@pytest.mark.parametrize("what", ["empty", "one class", "without", "loose"])
def test_folders_that_are_no_set(tmp_path, record, what):
    folder = tmp_path / "set"
    folder.mkdir()
    if what != "empty":
        record(folder / ("0.wav" if what == "loose" else "a/0.wav"))
    if what == "without":
        (folder / "b").mkdir()
        (folder / "b" / "notes.txt").write_text("none")
    message = {
        "empty": "an empty folder",
        "one class": "one class only",
        "without": "a class without recordings",
        "loose": "1 recordings and 0 other files with no sub-folder",
    }[what]
    with pytest.raises(DataError, match=message):
        load(folder)


def test_other_files_are_counted(tones, picture):
    picture(tones / "low" / "cover.png")
    (tones / "low" / "notes.txt").write_text("by hand")
    assert "2 files are not recordings of a class" in notes(whole(tones))


def test_parts_of_the_folder_itself(tmp_path, record):
    for part, count in (("train", 6), ("test", 2)):
        for name in "ab":
            for index in range(count):
                seed = 100 * ord(name) + 10 * count + index
                record(tmp_path / part / name / f"{index}.wav", tone(300, seed=seed))
    data = load(tmp_path, validation=2)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 2, 4)
    assert "test: the set's own 4 examples" in notes(data)


@pytest.mark.parametrize(
    ("sound", "error", "message"),
    [
        ({"rates": 8000}, UnknownNameError, "did you mean 'rate'"),
        ({"rate": 8000.5}, DataError, r"sound\.rate: expected a whole number from 100 to 768,000"),
        ({"seconds": -1}, DataError, r"sound\.seconds: expected seconds above 0"),
        ({"mels": 0}, DataError, r"sound\.mels: expected a whole number from 1 to 512"),
        ({"seconds": 0.01}, DataError, "shorter than one window of 0.025 s"),
        ({"hop": float("nan")}, DataError, r"sound\.hop: expected seconds"),
    ],
)
def test_options_that_cannot_be(tones, sound, error, message):
    with pytest.raises(error, match=message):
        load(tones, sound=sound)


def test_options_of_sounds_go_with_sounds(tones, photos):
    for source in (photos, "digits"):
        with pytest.raises(DataError, match="goes with a folder of recordings"):
            load(source, sound={"mels": 10})
    with pytest.raises(DataError, match="size= goes with a folder of images"):
        load(tones, size=8)
    assert whole(tones, sound={"mels": 10, "hop": 0.02}).input_shape == (1, 10, 26)


def test_without_the_package_the_command_is_named(tones, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(DataError, match=r"pip install 'netwright\[sound\]'"):
        load(tones)


def test_a_test_set_is_read_as_the_training_set_was(tones, record, tmp_path):
    prepare = whole(tones, sound={"mels": 20, "seconds": 0.25}).preparation
    for name in ("high", "low"):
        record(tmp_path / "more" / name / "0.wav", tone(700, seconds=1, rate=16000, seed=ord(name[0])), 16000)
    data = whole(tmp_path / "more", preparation=prepare)
    assert data.input_shape == prepare.prepared_shape and data.preparation is prepare
    assert "2 of 2 recordings (2 of 16,000 Hz) are resampled to 8,000 Hz, as in training" in notes(data)
    with pytest.raises(DataError, match="came a folder of recordings"):
        load(tones, preparation=FeaturePreparation((4000,)))


def test_one_recording_is_read_from_anything(tones):
    prepare = whole(tones).preparation
    file = tones / "low" / "3.wav"
    expected = torch.from_numpy(soundfile.read(file, dtype="float32")[0])
    assert torch.equal(prepare.read(file), expected)
    assert torch.equal(prepare.read(file.read_bytes()), expected)
    assert torch.equal(prepare.read(expected.tolist()), expected)
    assert [
        len(rows) for rows in (list(prepare.read_many(expected)), list(prepare.read_many([[1.0], [2.0]])))
    ] == [1, 2]
    shorter = prepare.read(expected[:100])
    assert shorter.shape == (4000,) and torch.equal(shorter[1950:2050], expected[:100])
    for wrong, message in (
        (b"no sound at all", "damaged, cut off, or no sound"),
        (np.zeros((2, 3)), "as a row of samples at 8,000 Hz"),
        (np.array([0.0, np.nan]), "came nan"),
        (tones / "missing.wav", "no such file"),
    ):
        with pytest.raises(DataError, match=message):
            prepare.read(wrong)


def test_inputs_are_recordings(tones, photos):
    found = find_inputs([tones / "low", tones / "high" / "3.wav"], RECORDINGS)
    assert len(found) == 11 and found[-1] == tones / "high" / "3.wav"
    with pytest.raises(DataError, match=r"expected recordings .* came a folder without any"):
        find_inputs(photos, RECORDINGS)
    with pytest.raises(DataError, match=r"expected a recording .* came \.png"):
        find_inputs(photos / "cat" / "0.png", RECORDINGS)


def test_long_examples_are_evaluated_a_few_at_a_time(tones, monkeypatch):
    from netwright.data import epochs
    from netwright.training.evaluation import outputs_of

    train = whole(tones).train
    assert train.evaluation_batch == (1 << 20) // (64 * 51)
    monkeypatch.setattr(epochs, "EVALUATION_NUMBERS", 64 * 51)
    monkeypatch.setattr(epochs, "LARGE_AT_ONCE", 4)
    assert train.evaluation_batch == 4
    monkeypatch.setattr(epochs, "LARGE_NUMBERS", 3 * 64 * 51)
    assert train.evaluation_batch == 3
    seen = []
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 51, 2))
    network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))
    outputs, targets = outputs_of(network, train)
    assert seen == [3] * 6 + [2] and torch.equal(targets, train.targets)
    torch.testing.assert_close(outputs, network(train.prepared(slice(None))[0]))


# Streamed


def test_streamed_batches_are_those_in_memory(tones, record):
    record(tones / "low" / "x.wav", tone(200, rate=16000), 16000)
    held, streamed = (load(tones, stream=stream) for stream in (False, True))
    assert streamed.preparation.to_dict() == held.preparation.to_dict()
    changes = {"time_shift": 0.1, "mask_time": 0.1, "mask_frequency": 9}
    held, streamed = (data.with_augmentation(changes) for data in (held, streamed))
    for epoch in (0, 1):
        pairs = zip(
            held.train.epoch(4, seed=3, epoch=epoch),
            streamed.train.epoch(4, seed=3, epoch=epoch),
            strict=True,
        )
        for (x, y), (other_x, other_y) in pairs:
            assert torch.equal(x, other_x) and torch.equal(y, other_y)
    assert held.test.names == streamed.test.names


def test_a_recording_that_changes_afterwards_stops_the_run(tones, record):
    data = whole(tones, stream=True)
    record(tones / "low" / "3.wav", tone(500, seconds=0.6))
    with pytest.raises(DataError, match=r"3\.wav: it was changed"):
        list(data.train.batches(8))


# Changed copies


@pytest.mark.parametrize("changes", [{}, {"time_shift": 0.1}, {"mask_time": 0.2, "mask_frequency": 20}])
def test_an_epoch_resumed_anywhere_has_the_same_batches(tones, changes):
    train = whole(tones).with_augmentation(changes).train
    batches = list(train.epoch(3, seed=1, epoch=2))
    for start in range(len(batches)):
        for (x, y), (again, labels) in zip(
            batches[start:], train.epoch(3, seed=1, epoch=2, start=start), strict=True
        ):
            assert torch.equal(x, again) and torch.equal(y, labels)
    if changes:
        unlike = [
            torch.equal(x, other) for (x, _), (other, _) in zip(batches, train.epoch(3, seed=1, epoch=3))
        ]
        assert not any(unlike)


def test_shifted_waves_leave_silence_behind():
    waves = torch.arange(1.0, 9.0).repeat(500, 1)
    draws = torch.rand(500, 8, generator=torch.Generator().manual_seed(0))
    came = shifted(waves, draws, samples=3)
    seen = Counter()
    for wave in came:
        first = int(wave[wave > 0][0])
        by = 1 - first if first > 1 else int((wave == 0).sum())
        padded = F.pad(torch.arange(1.0, 9.0), (10, 10))
        assert torch.equal(wave, padded[10 - by : 18 - by])
        seen[by] += 1
    assert set(seen) == set(range(-3, 4)) and min(seen.values()) > 40


def test_masks_are_one_block_each_of_every_width():
    spectrograms = torch.ones(2000, 1, 12, 20)
    draws = torch.rand(2000, 8, generator=torch.Generator().manual_seed(0))
    came = masked(spectrograms, draws, frames=5, bands=3)
    assert bool((spectrograms == 1).all())
    widths: dict[str, Counter] = {"bands": Counter(), "frames": Counter()}
    for example in came[:, 0]:
        for axis, name in ((1, "bands"), (0, "frames")):
            hidden = (example == 0).all(axis)
            places = torch.nonzero(hidden).flatten()
            assert not len(places) or bool((places.diff() == 1).all())
            widths[name][len(places)] += 1
    assert set(widths["bands"]) == set(range(4)) and set(widths["frames"]) == set(range(6))
    assert min(widths["bands"].values()) > 400 and min(widths["frames"].values()) > 250
    at_the_end = masked(spectrograms[:1], torch.full((1, 8), 1 - 2**-24), frames=5, bands=3)
    assert bool((at_the_end[0, 0, -3:] == 0).all()) and bool((at_the_end[0, 0, :, -5:] == 0).all())
    assert torch.equal(masked(spectrograms, torch.zeros(2000, 8), frames=5, bands=3), spectrograms)


def test_changes_belong_to_their_kind(tones, photos):
    sounds, images = load(tones), load(photos)
    with pytest.raises(
        DataError, match=r"augment\.flip changes images, .*\n.*recordings take mask_frequency"
    ):
        sounds.with_augmentation({"flip": True})
    with pytest.raises(DataError, match=r"augment\.time_shift changes recordings"):
        images.with_augmentation({"time_shift": 0.1})
    bounded = sounds.with_augmentation({"time_shift": 2, "mask_time": 0.3, "mask_frequency": 60})
    assert "moved by up to 0.25 s, up to 32 mel bands masked, up to 0.25 s masked, anew" in notes(bounded)
    for wrong in ({"mask_frequency": 0.5}, {"time_shift": -1}, {"mask_time": float("inf")}):
        with pytest.raises(DataError, match=r"augment\.\w+: expected"):
            SoundAugmentation.build(wrong)
    changed = sounds.with_augmentation({"time_shift": 0.1})
    assert "training recordings are moved by up to 0.1 s, anew in every epoch" in notes(changed)
    assert torch.equal(changed.train.prepared(slice(None))[0], sounds.train.prepared(slice(None))[0])


def test_bytes_in_memory_are_a_file(record, tmp_path):
    wave = tone(440)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 8000, format="FLAC")
    prepare = SoundPreparation((4000,), rate=8000, mels=20, window=200, hop=80)
    np.testing.assert_allclose(prepare.read(buffer.getvalue()), wave, atol=2**-15)

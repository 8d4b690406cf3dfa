"""`load` on what Python and files hand it: the rules, the counts, and every refusal with its words."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from netwright.data import DatasetSplit, Split, datasets, load, torch_dataset
from netwright.errors import DataError, NetwrightError, UnknownNameError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
Y = np.arange(60) % 3
PIXELS = RNG.integers(0, 256, (60, 6, 6), dtype=np.uint8)


def notes(data):
    return "\n".join(data.notes)


def whole(data):
    return data.train, data.validation, data.test


# Dividing


def test_digits_are_scikit_learns_and_every_one_is_somewhere():
    data = load("digits")
    theirs = load_digits()
    parts = whole(data)
    assert sum(map(len, parts)) == 1797 and (len(parts[2]), len(parts[1])) == (359, 180)
    ours = sorted(
        (p.flatten().tolist(), int(t)) for s in parts for p, t in zip(s.inputs, s.targets, strict=True)
    )
    assert ours == sorted(
        (i.astype(int).flatten().tolist(), int(t)) for i, t in zip(theirs.images, theirs.target, strict=True)
    )
    assert data.train.inputs.dtype == torch.uint8 and data.preparation.scale == 16
    counts = np.bincount(theirs.target)
    assert np.abs(np.bincount(parts[2].targets) - counts * 359 / 1797).max() < 1


def test_statistics_are_those_of_the_training_part_alone():
    data = load("digits", seed=3)
    scaled = data.train.inputs.double().numpy() / 16
    assert data.preparation.mean.item() == pytest.approx(scaled.mean(), rel=1e-6)
    assert data.preparation.std.item() == pytest.approx(scaled.std(), rel=1e-6)
    x, _ = data.train.prepared(slice(None))
    assert x.mean().item() == pytest.approx(0, abs=1e-5) and x.std(correction=0).item() == pytest.approx(
        1, abs=1e-5
    )


def test_the_seed_decides():
    first, again, other = load("digits", seed=1), load("digits", seed=1), load("digits", seed=2)
    for ours, theirs in zip(whole(first), whole(again), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.targets, theirs.targets)
    assert not torch.equal(first.test.inputs, other.test.inputs)


def test_the_reading_is_enough_to_do_it_again():
    """What `eject` writes out: read, cut by the steps, in this order."""
    from netwright.data.partition import content_hashes, stratified_split

    data = load("digits", seed=5, limit=700)
    theirs = load_digits()
    parts = {"train": (torch.from_numpy(theirs.images.astype(np.uint8))[:, None], theirs.target)}
    options = data.reading.options
    assert (data.reading.kind, options["seed"], options["highest"]) == ("digits", 5, 16)
    for step in options["steps"]:
        if "into" in step:
            x, y = parts[step["from"]]
            kept, held = stratified_split(y, content_hashes(x), step["size"], options["seed"])
            parts[step["from"]], parts[step["into"]] = (x[kept], y[kept]), (x[held], y[held])
        else:
            x, y = parts[step["limit"]]
            _, chosen = stratified_split(y, np.arange(len(x)), step["size"], options["seed"])
            parts[step["limit"]] = (x[chosen], y[chosen])
    for part, (x, y) in parts.items():
        assert torch.equal(getattr(data, part).inputs, x)
        np.testing.assert_array_equal(getattr(data, part).targets, y)


def test_counts_and_none():
    data = load(X, Y, test_share=6, validation=9)
    assert tuple(map(len, whole(data))) == (45, 9, 6)
    data = load(X, Y, test_share=0, validation=0)
    assert tuple(map(len, whole(data))) == (60, 0, 0)
    assert torch.equal(data.train.inputs, torch.from_numpy(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"test_share": 0.6, "validation": 0.5},
            "36 for test and 30 for validation of 60 examples leave none",
        ),
        ({"test_share": 60}, "leave none to train"),
        ({"test_share": 1.0}, "test_share: an impossible split"),
        ({"test_share": 1.5}, "came 1.5"),
        ({"test_share": -0.1}, "came -0.1"),
        ({"validation": -1}, "validation: an impossible split"),
        ({"validation": True}, "came True"),
        ({"validation": float("nan")}, "came nan"),
        ({"validation": "0.1"}, "expected a pair (inputs, targets) or a Dataset, came str"),
        ({"test": 0.2}, "test_share= takes a share"),
        ({"limit": 0}, "limit: expected a whole number of examples, at least 1, came 0"),
        ({"overfit": 2.5}, "overfit: expected a whole number"),
        ({"size": 32}, "size= goes with a folder of images"),
        ({"preparation": "scale", "mean": 0.5}, "mean= and std= belong to preparation='standard'"),
        ({"mean": [1.0, 2.0]}, "expected mean as 1 or 5 finite numbers"),
        ({"std": 0.0}, "must be above 0"),
        ({"mean": "a"}, "mean: expected a number"),
        ({"preparation": "standart"}, "did you mean 'standard'"),
        ({"classes": ("a", "b")}, "expected labels from 0 to 1 (2 classes), came 2 at index 2 and 19 more"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(NetwrightError) as caught:
        load(X, Y, **options)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_a_class_with_one_example_cannot_be_divided():
    labels = np.where(np.arange(60) == 7, "rare", "common")
    with pytest.raises(DataError) as caught:
        load(X, labels)
    assert "an impossible split" in str(caught.value) and "1 of 2 classes have fewer: rare" in str(
        caught.value
    )
    copies = X.copy()
    copies[8] = copies[7]
    with pytest.raises(DataError, match="at least 2 different examples"):
        load(copies, np.where((np.arange(60) == 7) | (np.arange(60) == 8), "rare", "common"))
    data = load(X, labels, test=(X[:5], np.array(["rare"] * 5)))
    assert "validation has no example of 1 of 2 classes: rare" in notes(data)


def test_copies_and_contradictions_are_counted():
    x = np.concatenate([X, X[:4]])
    y = np.concatenate([Y, [Y[0], Y[1], Y[2], (Y[3] + 1) % 3]])
    for seed in range(5):
        data = load(x, y, seed=seed)
        seen = [{row.tobytes() for row in part.inputs.numpy()} for part in whole(data)]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert "4 of 64 training examples are copies of others" in notes(data)
    assert "1 training examples occur with different labels" in notes(data)


def test_own_parts_are_left_as_they_are_and_crossing_copies_counted():
    data = load({"train": (X, Y), "test": (X[:7], Y[:7])})
    assert tuple(map(len, whole(data))) == (54, 6, 7)
    assert "7 of the 7 examples of the set's own test part are copies of training examples" in notes(data)
    data = load(X[:40], Y[:40], test=(X[40:50], Y[40:50]), validation=(X[50:], Y[50:]))
    assert tuple(map(len, whole(data))) == (40, 10, 10)
    with pytest.raises(DataError, match="has a test part of its own"):
        load({"train": (X, Y), "test": (X, Y)}, test=(X, Y))


def test_limit_and_overfit():
    data = load("digits", limit=50)
    assert tuple(map(len, whole(data))) == (50, 50, 50)
    assert set(data.class_counts) == {5}
    assert "limit: 50 of 1,258 examples of train are used" in notes(data)
    data = load("digits", overfit=20)
    assert tuple(map(len, whole(data))) == (20, 20, 20)
    assert torch.equal(data.train.inputs, data.test.inputs) and torch.equal(
        data.train.inputs, data.validation.inputs
    )
    assert "overfit: the same 20 examples" in notes(data)
    assert data.reading.options["steps"][-1] == {"overfit": 20}


# Inputs


@pytest.mark.parametrize(
    ("inputs", "shape", "dtype"),
    [
        (PIXELS, (1, 6, 6), torch.uint8),
        (PIXELS[:, None], (1, 6, 6), torch.uint8),
        (torch.from_numpy(PIXELS), (1, 6, 6), torch.uint8),
        (PIXELS.astype(np.int64), (1, 6, 6), torch.uint8),
        (PIXELS.astype(np.uint16) * 2, (1, 6, 6), torch.float32),
        (np.stack([PIXELS] * 3, -1), (3, 6, 6), torch.uint8),
        (np.stack([PIXELS] * 4, -1), (4, 6, 6), torch.uint8),
        (np.stack([PIXELS] * 3, 1), (3, 6, 6), torch.uint8),
        (PIXELS.astype(np.float64), (1, 6, 6), torch.float32),
        (torch.rand(60, 2, 5, 5), (2, 5, 5), torch.float32),
        (X, (5,), torch.float32),
        (X.astype(np.float64), (5,), torch.float32),
        (X.astype(np.float16), (5,), torch.float32),
        (torch.from_numpy(X).bfloat16(), (5,), torch.float32),
        (X.tolist(), (5,), torch.float32),
        (RNG.integers(-5, 5, (60, 4)), (4,), torch.float32),
        (PIXELS.reshape(60, 36), (36,), torch.uint8),
        (X > 0, (5,), torch.float32),
    ],
)
def test_inputs_by_kind(inputs, shape, dtype):
    data = load(inputs, Y, test_share=0, validation=0)
    assert data.input_shape == shape and data.train.inputs.dtype == dtype
    given = torch.as_tensor(
        np.asarray(inputs.float() if isinstance(inputs, torch.Tensor) else inputs)
    ).float()
    came = data.train.inputs.float()
    if given.dim() == 4 and given.shape[-1] in (3, 4) and given.shape[1] == 6:
        given = given.permute(0, 3, 1, 2)
        assert "channels last" in notes(data)
    torch.testing.assert_close(came, given.reshape(came.shape), rtol=1e-6, atol=0)
    x, _ = data.train.prepared(slice(None))
    dims = (0, 2, 3) if x.dim() == 4 else (0,)
    torch.testing.assert_close(x.mean(dims), torch.zeros(x.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(dims, correction=0), torch.ones(x.shape[1]), atol=1e-4, rtol=0)


def test_casts_are_told():
    assert "the float64 inputs became float32" in notes(load(X.astype(np.float64), Y))
    assert "the int64 images hold whole numbers from 0 to 255" in notes(load(PIXELS.astype(np.int64), Y))


def test_constant_features_are_told():
    x = X.copy()
    x[:, 2] = 0.1
    data = load(x, Y)
    assert "1 of 5 features are constant in the training part; their std is taken as 1" in notes(data)
    assert data.preparation.std[2] == 1


def test_preparations():
    scaled = load(PIXELS, Y, preparation="scale")
    raw = scaled.train.inputs.float()
    assert torch.equal(scaled.train.prepared(slice(None))[0], raw / 255)
    plain = load(PIXELS, Y, preparation="none")
    assert torch.equal(plain.train.prepared(slice(None))[0], raw)
    assert torch.equal(
        load(X, Y, preparation="scale").train.prepared(slice(None))[0], load(X, Y).train.inputs
    )
    given = load(PIXELS, Y, mean=0.1307, std=[0.3081])
    assert given.preparation.to_dict()["mean"] == [0.1307] and given.preparation.to_dict()["std"] == [0.3081]
    assert torch.equal(given.example, (raw[:1] / 255 - 0.1307) / 0.3081)


def test_the_users_own_memory_is_neither_moved_nor_copied_without_need():
    x, y = torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())
    load(x, y, seed=4)
    assert torch.equal(x, torch.from_numpy(X)) and torch.equal(y, torch.from_numpy(Y))
    shared = load(x, y, test_share=0, validation=0)
    assert shared.train.inputs.data_ptr() == x.data_ptr()
    frozen = X.copy()
    frozen.flags.writeable = False
    assert len(load(frozen, Y).train) == 42


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (X, Y[:-1], "expected a target for each of 60 inputs, came 59"),
        (X[:0], Y[:0], "with N > 0, came (0, 5)"),
        (X[:, 0], Y, "came (60,)"),
        (np.zeros((2, 2, 2, 2, 2)), [0, 1], "came (2, 2, 2, 2, 2)"),
        (np.where(np.arange(300).reshape(60, 5) == 23, np.nan, X), Y, "came 1 NaN or infinite; the first is nan at index [4, 3]"),
        (np.full((60, 5), 1e300), Y, "as float32: expected finite numbers, came 300"),
        (np.array([["a"] * 5] * 60), Y, "expected an array of numbers, came <U1"),
        (np.array([[None] * 5] * 60), Y, "came objects"),
        ([[1, 2], [3]], [0, 1], "rows of different lengths"),
        (torch.zeros(4, 2, dtype=torch.complex64), [0, 1, 0, 1], "dense tensor of real numbers"),
        (torch.eye(4).to_sparse(), [0, 1, 0, 1], "dense tensor of real numbers"),
        (X, np.where(np.arange(60) > 57, np.inf, 1.0), "targets: expected finite numbers, came 2 NaN or infinite; the first is inf at index 58"),
        (X, np.eye(3, dtype=int)[Y], "One-hot rows become labels with .argmax(1)"),
        (X, np.zeros((60, 2), int), "expected one label an example, shape (N,), came (60, 2)"),
        (X, [None] * 60, "came NoneType"),
        (X, np.zeros((60, 2, 2)), "came (60, 2, 2)"),
        (X, np.zeros(60, int), "expected at least two classes, came 1: 0"),
        (X, None, "expected targets with numpy.ndarray"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be(inputs, targets, message):
    with pytest.raises(DataError) as caught:
        load(inputs, targets)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_nan_far_into_a_large_array_is_found_at_its_place():
    x = np.zeros((300_000, 20), np.float32)
    x[250_000, 7] = np.nan
    with pytest.raises(DataError, match=r"came 1 NaN or infinite; the first is nan at index \[250000, 7\]"):
        load(x, np.arange(300_000) % 2)


# Targets


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        (Y, ("0", "1", "2")),
        (Y * 10 - 10, ("-10", "0", "10")),
        (torch.from_numpy(Y).to(torch.uint8), ("0", "1", "2")),
        (Y > 0, ("False", "True")),
        (np.array(["b", "a", "c"])[Y], ("a", "b", "c")),
        (np.array(["b", "a", "c"], dtype=object)[Y], ("a", "b", "c")),
        ([("b", "a", "c")[label] for label in Y], ("a", "b", "c")),
        (Y[:, None], ("0", "1", "2")),
    ],
)
def test_labels_by_kind(targets, classes):
    data = load(X, targets, test_share=0, validation=0)
    assert data.classes == classes and data.task == "classification" and data.num_outputs == len(classes)
    plain = [str(value) for value in np.asarray(targets).reshape(-1).tolist()]
    assert [data.classes[index] for index in data.train.targets.tolist()] == plain
    assert data.class_counts == tuple(plain.count(name) for name in classes)
    assert ("became classes in ascending order" in notes(data)) == (classes[0] == "-10")


def test_named_classes():
    assert load(X, Y, classes=("x", "y", "z", "w")).classes == ("x", "y", "z", "w")
    data = load(X, np.array(["z", "x", "y"])[Y], classes=("x", "y", "z"), test_share=0, validation=0)
    assert data.train.targets[:3].tolist() == [2, 0, 1]
    with pytest.raises(DataError, match="expected labels among x, y; came 'z' at 0"):
        load(X, np.array(["z", "x", "y"])[Y], classes=("x", "y"))
    with pytest.raises(DataError, match="came -1 at index 5"):
        load(X, np.where(np.arange(60) == 5, -1, Y), classes=("x", "y", "z"))
    with pytest.raises(DataError, match="goes with integer or string labels, came floats"):
        load(X, Y.astype(float), classes=("x", "y", "z"))


def test_classes_are_those_of_all_parts():
    data = load({"train": (X, Y), "test": (X, np.full(60, 9))})
    assert data.classes == ("0", "1", "2", "9") and "train has no example of 1 of 4 classes: 9" in notes(data)


@pytest.mark.parametrize("columns", [None, 1, 3])
def test_numbers_to_predict(columns):
    targets = RNG.normal(size=60 if columns is None else (60, columns))
    data = load(X, targets)
    assert data.task == "regression" and data.classes is None and data.class_counts is None
    assert data.num_outputs == (columns or 1)
    assert data.train.targets.dtype == torch.float32
    assert data.train.targets.shape == ((42,) if columns in (None, 1) else (42, 3))
    assert f"{columns or 1} number{'s' if columns == 3 else ''} to predict" in data.describe()


def test_whole_floats_are_numbers_with_a_note():
    assert "give them as integers to predict classes" in notes(load(X, Y.astype(np.float32)))


def test_parts_that_do_not_match():
    for other, message in (
        ((X[:, :4], Y), "expected inputs of one shape and type in every part"),
        ((PIXELS, Y), "expected inputs"),
        ((X, Y.astype(float)), "targets"),
    ):
        with pytest.raises(DataError, match=message):
            load({"train": (X, Y), "test": other})
        with pytest.raises(DataError):
            load(X, Y, test=other)
    with pytest.raises(DataError, match="expected parts named"):
        load({"train": (X, Y), "dev": (X, Y)})
    with pytest.raises(DataError, match="came none"):
        load({})
    with pytest.raises(DataError, match=r"a pair \(inputs, targets\) or a Dataset, came tuple of 3"):
        load((X, Y, Y))


# Files


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    data = load(tmp_path / "a.npz")
    assert data.name == "a" and tuple(map(len, whole(data))) == (42, 6, 12) and data.reading.kind == "npz"
    np.savez_compressed(tmp_path / "b.npz", x_train=PIXELS, y_train=Y, x_test=PIXELS[:9], y_test=Y[:9])
    assert tuple(map(len, whole(load(str(tmp_path / "b.npz"))))) == (54, 6, 9)


def test_real_npz(real):
    data = load(real / "medmnist" / "pneumoniamnist.npz")
    assert tuple(map(len, whole(data))) == (4708, 524, 624) and data.input_shape == (1, 28, 28)


def test_npz_that_cannot_be(tmp_path, monkeypatch):
    def saved(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    with pytest.raises(DataError, match="expected arrays named x and y or inputs and targets") as caught:
        load(saved(a=X, y=Y))
    assert str(tmp_path / "a.npz") in str(caught.value) and str(caught.value).endswith("came a, y")
    path = saved(x=np.array([None, {}], dtype=object), y=Y)
    with pytest.raises(DataError, match="never loaded"):
        load(path)
    path = saved(x=X, y=Y)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="damaged or other file"):
        load(path)
    path = saved(x=X, y=Y)
    monkeypatch.setattr("netwright.data.memory.free_memory", lambda: 1000)
    with pytest.raises(DataError, match="of memory are free"):
        load(path)


def test_paths_and_names_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in ("md", "wav", "zip"):
        (tmp_path / f"a.{suffix}").write_text("1,2\n")
        with pytest.raises(
            DataError, match=rf"a\.{suffix}: expected a data set, came a \.{suffix} file\.\nload takes"
        ):
            load(f"a.{suffix}")
    for missing in ("photos/", "nowhere/a.npz", "a.npz", tmp_path / "x"):
        with pytest.raises(DataError, match="no such file or folder"):
            load(missing)
    with pytest.raises(UnknownNameError) as caught:
        load("minst")
    assert "did you mean 'mnist'" in str(caught.value) and "Nor is there a folder" in str(caught.value)
    with pytest.raises(DataError, match="a name or path brings its own"):
        load("digits", Y)


def test_a_set_of_ones_own():
    datasets["mine"] = lambda: {"train": (X, Y), "test": (X, Y)}
    try:
        data = load("mine")
    finally:
        del datasets["mine"]
    assert data.name == "mine" and len(data.test) == 60


# Datasets


class Items(Dataset):
    """Items as given, and nothing else."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_fixed_items_are_held_in_memory():
    data = load(Items([(torch.from_numpy(row), int(label)) for row, label in zip(X, Y, strict=True)]))
    assert isinstance(data.train, Split) and "read once and are held in memory" in notes(data)
    plain = load(X, Y)
    for ours, theirs in zip(whole(data), whole(plain), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.targets, theirs.targets)


def test_tensor_datasets_and_subsets():
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    assert len(load(tensors).train) == 42
    subset = load(Subset(tensors, range(0, 60, 2)), test_share=0, validation=0)
    assert torch.equal(subset.train.inputs, torch.from_numpy(X[::2]))
    data = load({"train": tensors, "test": Subset(tensors, [0, 1, 2])})
    assert len(data.test) == 3


def test_pictures_become_uint8():
    from PIL import Image

    grey = [(Image.fromarray(pixels), int(label)) for pixels, label in zip(PIXELS, Y, strict=True)]
    data = load(Items(grey), test_share=0, validation=0)
    assert data.input_shape == (1, 6, 6)
    np.testing.assert_array_equal(data.train.inputs[:, 0], PIXELS)
    coloured = [*grey[:-1], (grey[-1][0].convert("RGB"), 2)]
    data = load(Items(coloured), test_share=0, validation=0)
    assert data.input_shape == (3, 6, 6) and data.train.inputs.dtype == torch.uint8
    np.testing.assert_array_equal(data.train.inputs[:, 2], PIXELS)


def test_the_datasets_own_class_names():
    items = Items([(torch.from_numpy(row), int(label)) for row, label in zip(X, Y, strict=True)])
    items.classes = ["a", "b", "c", "d"]
    assert load(items).classes == ("a", "b", "c", "d")
    assert load(Subset(items, range(30))).classes == ("a", "b", "c", "d")


def test_items_that_do_not_fit_are_left_where_they_are(monkeypatch):
    monkeypatch.setattr(torch_dataset, "free_memory", lambda: 100)
    items = Items([(torch.from_numpy(row), int(label)) for row, label in zip(X, Y, strict=True)])
    data = load(items)
    assert isinstance(data.train, DatasetSplit) and "do not fit in memory" in notes(data)
    x, y = next(data.train.batches(7))
    assert x.shape == (7, 5) and y.dtype == torch.int64
    # The split is by index, so the examples are known: undo the preparation and look them up.
    raw = x * data.preparation.std + data.preparation.mean
    for row, label in zip(raw, y, strict=True):
        place = int(np.abs(X - row.numpy()).sum(1).argmin())
        np.testing.assert_allclose(X[place], row, atol=1e-5)
        assert Y[place] == label


def test_listed_targets_spare_the_reading(monkeypatch):
    monkeypatch.setattr(torch_dataset, "free_memory", lambda: 100)
    read = []

    class Counted(Items):
        targets = Y.tolist()

        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    load(
        Counted([(torch.from_numpy(row), int(label)) for row, label in zip(X, Y, strict=True)]),
        preparation="none",
    )
    assert len(read) < 30


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()


class NoLength(Dataset):
    def __getitem__(self, index):
        return torch.zeros(2), 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "came an IterableDataset"),
        (NoLength(), "one without __len__"),
        (Items([]), "an empty Dataset"),
        (Items([torch.zeros(2)] * 4), "expected items (input, target), came Tensor"),
        (Items([{"x": 1, "y": 2}] * 4), "came dict of 2 in item 0"),
        (
            Items([(torch.zeros(2), 0)] * 3 + [(torch.zeros(3), 1)]),
            "inputs of one shape, (2,), came (3,) in item 3",
        ),
        (Items([(torch.zeros(2, 2, 2, 2), 0)] * 4), "came (2, 2, 2, 2) in item 0"),
        (Items([(torch.tensor([0.0, float("nan")]), 0)] * 4), "NaN or infinite ones in item 0"),
        (Items([(torch.zeros(2), 0), (torch.zeros(2), [1, 2])]), "targets of one shape"),
    ],
)
def test_datasets_that_cannot_be(dataset, message):
    with pytest.raises(DataError) as caught:
        load(dataset)
    assert message in str(caught.value) and len(str(caught.value).splitlines()) <= 4
    with pytest.raises(DataError, match="brings its own"):
        load(dataset, Y)


# The whole


def test_describe_and_the_rest():
    data = load("digits")
    assert data.describe().splitlines()[0] == "digits: 1,258 to train, 180 to validate, 359 to test"
    assert data.example.shape == (1, 1, 8, 8) and sum(data.class_counts) == 1258
    assert data.to("cpu").train.device == torch.device("cpu")
    assert load(X, Y, name="mine").name == "mine"
    assert "each standardised" in load(X, Y).describe()
    assert load(X, Y, preparation="none").describe().endswith("input 5, as it is")

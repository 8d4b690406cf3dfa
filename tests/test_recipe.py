"""Recipes: dotted entries, files, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from netwright.errors import RecipeError, UnknownNameError
from netwright.recipe import Recipe, parse_setting


def test_later_layers_override_earlier_ones_nested_or_dotted() -> None:
    recipe = Recipe.build({"train": {"epochs": 3, "seed": 1}}, {"train.epochs": 4}, {"network.hidden": [5]})
    assert (recipe.train.epochs, recipe.train.seed, recipe.network.options()) == (4, 1, {"hidden": [5]})


def test_yaml_there_and_back_is_the_same_recipe(tmp_path: Path) -> None:
    recipe = Recipe.build({"optimizer.lr": 1e-4, "network.hidden": [3, 2], "loss.class_weights": [1, 2]})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert Recipe.build(Recipe.read(tmp_path / "recipe.yaml")) == recipe


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("optimizer: {lr: 1e-3, weight_decay: 1e-4}\nnetwork: {dropout: .5}\n")
    recipe = Recipe.build(Recipe.read(tmp_path / "r.yaml"))
    assert recipe.optimizer.lr == 1e-3
    assert recipe.optimizer.options() == {"weight_decay": 1e-4} and recipe.network.options() == {
        "dropout": 0.5
    }


def test_a_named_set_has_defaults_that_anything_said_overrides() -> None:
    assert Recipe.build({"data.source": "digits"}).train.epochs == 30
    assert Recipe.build({"data.source": "digits", "train.epochs": 2}).train.epochs == 2


def test_the_recipe_of_a_named_set_belongs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "network.name": "cnn",
        "network.channels": [4],
        "optimizer.name": "adamw",
        "optimizer.weight_decay": 0.1,
        "schedule.name": "one-cycle",
        "schedule.max_lr": 0.1,
        "augment.shift": 2,
        "train.epochs": 7,
    }
    monkeypatch.setitem(Recipe.defaults, "some", wanted)
    source = {"data.source": "some"}
    whole = Recipe.build(source)
    assert (whole.network.name, whole.network.options()) == ("cnn", {"channels": [4]})
    assert (whole.train.epochs, whole.augment.shift) == (7, 2)
    assert Recipe.build(source, {"train.epochs": 3}).network.name == "cnn"
    # Another network, the same one by name, or an option of one is the person's own choice of everything.
    for entries in ({"network.name": "mlp"}, {"network.name": "cnn"}, {"network.hidden": [5]}):
        other = Recipe.build({"data.source": "other"}, entries)
        assert Recipe.build(source, entries) == other.model_copy(update={"data": whole.data})
    # Options go with the name that they belong to.
    other = Recipe.build(source, {"optimizer.name": "sgd", "schedule.name": "constant"})
    assert other.optimizer.options() == {} and other.schedule.options() == {}
    assert other.network.options() == {"channels": [4]}
    assert Recipe.build(source, {"optimizer.lr": 0.5}).optimizer.options() == {"weight_decay": 0.1}
    assert Recipe.build(source, {"data.overfit": 20}).augment.shift == 0
    # What a run has kept is what it is, whatever the defaults become.
    assert Recipe.build(whole.model_dump()) == whole


def test_a_series_has_a_recipe_of_its_own() -> None:
    source = {"data.source": "people.csv", "series.horizon": 24}
    assert Recipe.build(source).network.name == "dlinear"
    assert Recipe.build({"data.source": "people.csv", "series.window": 24}).network.name == "tcn"
    assert Recipe.build({"data.source": "people.csv", "series.stride": 2}).network.name == "mlp", "no series"
    other = Recipe.build(source, {"network.name": "gru"})
    assert (other.schedule.name, other.optimizer.lr) == ("constant", None), "these went with dlinear"
    assert Recipe.build(source, {"data.target": ["a", "b"]}).data.target == ["a", "b"]
    again = Recipe.build(Recipe.build(source).model_dump())
    assert again == Recipe.build(source)


def test_a_network_file_is_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("")
    (tmp_path / "r.yaml").write_text("network: {name: net.py:Net}\n")
    assert Recipe.read(tmp_path / "r.yaml")["network"]["name"] == f"{tmp_path / 'net.py'}:Net"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"train.epochs": 0}, "train.epochs should be greater than or equal to 1, not 0"),
        ({"train.epochs": "many"}, "train.epochs should be a valid integer"),
        ({"optimizer.lr": -0.1}, "above 0"),
        ({"optimizer.lr": float("nan")}, "optimizer.lr"),
        ({"data.batch": 0}, "data.batch"),
        ({"checkpoint.keep": "all"}, "'best' or 'last'"),
        ({"train": 3}, "section"),
        ({"network.input_shape": [1]}, "follows from the data"),
        ({"schedule.total_steps": 5}, "follows from the data"),
    ],
)
def test_values_that_cannot_be(entries: dict, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.build(entries)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("entry", "near"),
    [("train.epoch", "train.epochs"), ("trian.epochs", "train"), ("data.bach", "data.batch")],
)
def test_unknown_entries_are_answered_with_the_near_ones(entry: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
        Recipe.build({entry: 1})


@pytest.mark.parametrize("text", ["", "a: [1", "- 1\n- 2", "\x00"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"r\.yaml"):
        Recipe.read(path)
    with pytest.raises(RecipeError, match="no recipe file"):
        Recipe.read(tmp_path / "none.yaml")


def test_a_recipe_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("train: !!python/object/apply:os.mkdir ['sprung']\n")
    with pytest.raises(RecipeError, match="not valid YAML"):
        Recipe.read(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b=1e-3", ("a.b", 0.001)),
        ("a.b=[1, 2]", ("a.b", [1, 2])),
        ("a.b=null", ("a.b", None)),
        ("a.b=true", ("a.b", True)),
        ("a.b=x=y", ("a.b", "x=y")),
        ("a.b=1.2.3", ("a.b", "1.2.3")),
    ],
)
def test_settings_are_read_as_yaml(text: str, expected: tuple) -> None:
    assert parse_setting(text) == expected


def test_a_setting_without_a_value() -> None:
    with pytest.raises(RecipeError, match="key=value"):
        parse_setting("optimizer.lr")


def test_what_is_written_is_plain_yaml() -> None:
    assert yaml.safe_load(Recipe().to_yaml())["optimizer"]["name"] == "adam"


def test_a_transfer_names_its_network_and_a_rate_for_its_head(tmp_path: Path) -> None:
    begun = Recipe.build({"data.source": "digits", "transfer.source": "cifar-resnet20"})
    assert (begun.network.name, begun.optimizer.lr) == ("cifar-resnet20", 0.01)
    gradual = {"data.source": "digits", "transfer.source": "minilm-l6", "transfer.freeze": "gradual"}
    assert Recipe.build(gradual).optimizer.lr == 0.01
    assert Recipe.build(gradual).network.name == "transformers"
    for said in ({"optimizer.name": "sgd"}, {"transfer.keep_head": True}, {"optimizer.lr": None}):
        assert Recipe.build(gradual, said).optimizer.lr is None
    assert Recipe.build(gradual, {"optimizer.lr": 0.5}).optimizer.lr == 0.5
    (tmp_path / "recipe.yaml").write_text(begun.to_yaml())
    assert Recipe.build(Recipe.read(tmp_path / "recipe.yaml")) == begun
    with pytest.raises(RecipeError, match=r"holds weights, but not the network"):
        Recipe.build({"transfer.source": "net.pt"})
    assert (
        Recipe.build({"transfer.source": "net.pt", "network.name": "mlp", "transfer.head": 3}).transfer.head
        == "3"
    )
    with pytest.raises(RecipeError, match=r"transfer\.layer_decay"):
        Recipe.build({"transfer.source": "cifar-resnet20", "transfer.layer_decay": 2})

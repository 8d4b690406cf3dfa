"""What `--vary` means, and which variants come of it."""

from __future__ import annotations

import pytest

from netwright.architectures import activations
from netwright.comparing.plan import AS_IT_IS, Varying, deep_enough, grid_of
from netwright.comparing.vary import DEFAULTS, Range, Varied, parse_vary
from netwright.errors import NetwrightError
from netwright.recipe import Recipe
from netwright.training.losses import losses
from netwright.training.optimizers import optimizers

DIGITS = Recipe.build({"data.source": "digits", "loss.name": "cross-entropy"})


def varied(text, task="classification"):
    return parse_vary(text, task=task)


def test_the_default_lists_are_seven_registered_names_each():
    registries = {"network.activation": activations, "optimizer.name": optimizers, "loss.name": losses}
    for key, names in DEFAULTS.items():
        assert len(set(names)) == 7 and set(names) <= set(registries[key])


def test_short_names_and_dotted_ones():
    assert varied("lr=1e-3,0.1") == [Varied("optimizer.lr", (0.001, 0.1))]
    assert varied("early_stopping.patience=3,5") == [Varied("early_stopping.patience", (3, 5))]
    assert varied("hidden=[8, 8],[16]") == [Varied("network.hidden", ([8, 8], [16]))]
    assert [one.key for one in varied("activation,optimizer")] == ["network.activation", "optimizer.name"]
    assert varied("loss", "regression")[0].values == ("mse", "smooth-l1", "l1")


def test_ranges():
    assert varied("lr=1e-4..1e-1")[0].values == Range(1e-4, 0.1, whole=False)
    assert Range(1e-4, 0.1, whole=False).logarithmic and not Range(1, 9, whole=True).logarithmic
    assert Range(1, 10, whole=True).logarithmic and not Range(0, 1, whole=False).logarithmic


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("activaton=relu", "unknown entry to vary 'activaton': did you mean 'activation'"),
        ("optimizer.lr=", "a value is missing"),
        ("lr=0.1,,0.2", "a value is missing"),
        ("lr=0.1,0.1", "0.1 stands there twice"),
        ("lr", "which values"),
        ("seed=1,2", "--seeds N"),
        ("lr=1..0.1", "from a number to a larger one"),
        ("lr=a..b", "from a number to a larger one"),
        ("data.bach=3,4", "did you mean 'data.batch'"),
        ("data.source=digits,mnist", "cannot be varied"),
        ("network.num_outputs=2,3", "follows from the data"),
        ("", "unknown entry to vary"),
    ],
)
def test_what_cannot_be_varied_is_said(text, said):
    with pytest.raises(NetwrightError) as raised:
        varied(text)
    assert said in str(raised.value)


def test_a_grid_is_every_combination_and_one_option_varies_each_alone():
    lists = [varied("optimizer=adam,sgd"), varied("batch=32,64,128")]
    plan = grid_of(DIGITS, lists, seeds=3)
    assert len(plan.variants) == 6 and len(plan.sweeps) == 1 and plan.seeds == (0, 1, 2)
    assert sum(one.name == AS_IT_IS for one in plan.variants) == 1
    usual = grid_of(DIGITS, [varied("activation,loss,optimizer")], seeds=1)
    # Three lists of seven, whose default is one and the same run.
    assert len(usual.variants) == 19 and [len(sweep.rows) for sweep in usual.sweeps] == [7, 7, 7]
    assert all(sum(name == AS_IT_IS for name, _ in sweep.rows) == 1 for sweep in usual.sweeps)


def test_another_optimizer_has_its_own_learning_rate_unless_one_was_given():
    mnist = Recipe.build({"data.source": "mnist"})
    assert mnist.optimizer.lr == 0.015
    assert Varying(mnist).variant({"optimizer.name": "sgd"}).recipe.optimizer.lr is None
    given = Varying(mnist, given=["optimizer.lr"]).variant({"optimizer.name": "sgd"})
    assert given.recipe.optimizer.lr == 0.015
    # What is varied leaves the rest as it is.
    other = Varying(mnist).variant({"network.activation": "tanh"}).recipe
    assert other.network.options() == {**mnist.network.options(), "activation": "tanh"}
    assert other.optimizer == mnist.optimizer


def test_a_loss_brings_what_it_wants_the_network_to_end_in():
    nll = Varying(DIGITS).variant({"loss.name": "nll"})
    assert nll.recipe.network.options()["output_activation"] == "log-softmax"
    own = Recipe.build({"data.source": "digits", "network.output_activation": "softmax"})
    kept = Varying(own, given=["network.output_activation"]).variant({"loss.name": "nll"})
    assert kept.recipe.network.options()["output_activation"] == "softmax"


def test_names_of_folders_are_plain_and_apart():
    names = [
        Varying(DIGITS).variant({key: value}).name
        for key, value in [
            ("optimizer.lr", 0.1234567),
            ("optimizer.lr", 0.1234568),
            ("network.hidden", [8, 8]),
            ("network.name", "../a b:c.py:Net"),
        ]
    ]
    assert len(set(names)) == 4
    assert not any(letter in name for name in names for letter in "/ :[]")


def test_the_base_is_deep_unless_layers_were_chosen():
    assert deep_enough(DIGITS, given=[]) == {"network.hidden": [64] * 5}
    assert deep_enough(DIGITS, given=["network.hidden"]) == {}

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netwright.architectures import activations, count_parameters
from netwright.architectures.builders import Residual, cnn, mlp
from netwright.errors import NetworkError, UnknownNameError


def kinds(network):
    return [type(layer).__name__ for layer in network]


def test_mlp_is_bit_for_bit_what_people_write_by_hand():
    torch.manual_seed(3)
    ours = mlp((1, 28, 28), 10, hidden=[512, 512])
    torch.manual_seed(3)
    theirs = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )
    assert repr(ours) == repr(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_mlp_with_everything():
    network = mlp(
        (4,),
        3,
        hidden=(8, 6),
        activation=["relu", "leaky-relu"],
        dropout=0.25,
        batch_norm=True,
        output_activation="log-softmax",
    )
    assert kinds(network) == [
        *("Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout"),
        *("Linear", "BatchNorm1d", "LeakyReLU", "Dropout", "Linear", "LogSoftmax"),
    ]
    assert network[4].p == 0.25
    outputs = network(torch.randn(5, 4))
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(5))


def test_mlp_takes_one_size_and_no_size():
    assert kinds(mlp((4,), 3, hidden=8)) == ["Flatten", "Linear", "ReLU", "Linear"]
    assert kinds(mlp((4,), 3, hidden=[])) == ["Flatten", "Linear"]


@pytest.mark.parametrize("builder", [mlp, cnn])
def test_same_seed_same_weights(builder):
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(builder((1, 8, 8), 10).state_dict())
    assert all(torch.equal(made[0][key], made[1][key]) for key in made[0])
    assert any(not torch.equal(made[0][key], made[2][key]) for key in made[0])


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (1, 2, 50), (3, 65, 97), (3, 224, 224)],
)
def test_cnn_takes_any_image(shape):
    network = cnn(shape, 7).eval()
    with torch.no_grad():
        assert network(torch.randn(2, *shape)).shape == (2, 7)
    assert count_parameters(network) < 1_500_000


@pytest.mark.parametrize(
    ("side", "channels"),
    [(8, [32, 64]), (28, [32, 64]), (32, [32, 64]), (64, [32, 64, 128]), (224, [32, 64, 128, 256, 256])],
)
def test_cnn_has_a_block_for_each_halving(side, channels):
    network = cnn((1, side, side), 10)
    assert [layer.out_channels for layer in network if isinstance(layer, nn.Conv2d)] == channels


def test_cnn_averages_a_map_that_stays_large():
    network = cnn((3, 224, 112), 10, channels=[4])
    assert kinds(network)[-3:] == ["AvgPool2d", "Flatten", "Linear"]
    assert network[-1].in_features == 4 * 8 * 8
    assert network(torch.randn(1, 3, 224, 112)).shape == (1, 10)


def test_cnn_with_everything():
    network = cnn(
        (3, 8, 8), 4, channels=(5, 6), activation=["elu", "gelu"], dropout=0.5, output_activation="softmax"
    )
    assert kinds(network) == [
        *("Conv2d", "BatchNorm2d", "ELU", "MaxPool2d", "Conv2d", "BatchNorm2d", "GELU", "MaxPool2d"),
        *("Flatten", "Dropout", "Linear", "Softmax"),
    ]
    assert network[0].bias is None
    assert cnn((3, 8, 8), 4, channels=5, batch_norm=False)[0].bias is not None


def test_cnn_as_lenet_has_it():
    """Filters without padding, pooling before the norm: 28 - 4 = 24, 12, 12 - 2 = 10, 5, 5."""
    options = {
        "channels": [6, 16, 8],
        "kernels": [5, 3, 1],
        "pools": [2, 2, 1],
        "padded": [False, False, True],
    }
    network = cnn((1, 28, 28), 10, pool_first=True, **options)
    assert kinds(network) == [
        *("Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU", "Conv2d", "MaxPool2d", "BatchNorm2d", "ReLU"),
        *("Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear"),
    ]
    assert network[-1].in_features == 8 * 5 * 5
    # The largest value commutes with what only rises: the order of pooling does not matter to trained gains above 0.
    later = cnn((1, 28, 28), 10, **options).eval()
    x = torch.randn(3, 1, 28, 28)
    weights = list(network.state_dict().values())
    later.load_state_dict(dict(zip(later.state_dict(), weights, strict=True)))
    assert torch.allclose(network.eval()(x), later(x), atol=1e-6)


def test_cnn_adds_residual_layers():
    network = cnn((3, 8, 8), 4, channels=[5, 6], residual=[0, 2])
    blocks = [layer for layer in network if isinstance(layer, Residual)]
    assert len(blocks) == 2 and [type(layer).__name__ for layer in blocks[0]] == [
        "Conv2d",
        "BatchNorm2d",
        "ReLU",
    ]
    x = torch.randn(2, 6, 4, 4)
    inner = nn.Sequential(*blocks[0]).eval()
    assert torch.equal(blocks[0].eval()(x), x + inner(x))


def test_cnn_may_end_in_the_mean_of_each_channel_and_in_its_largest_value():
    images = torch.randn(5, 3, 40, 24)
    for head, count in (("mean", 6), ("mean-max", 12)):
        network = cnn((3, 40, 24), 4, channels=[6], head=head).eval()
        maps = network[:-2](images).flatten(2)
        assert maps.shape == (5, 6, 20 * 12)
        wanted = torch.cat([maps.mean(2), maps.max(2).values], 1)[:, :count]
        assert network[-1].in_features == count
        torch.testing.assert_close(network[:-1](images), wanted)
    for head in ("mean-maxx", ["mean-max"]):
        with pytest.raises(UnknownNameError, match=r"unknown network\.head .*did you mean 'mean-max'"):
            cnn((1, 8, 8), 2, head=head)


def test_a_mirrored_cnn_answers_a_mirror_image_alike():
    network = cnn((1, 8, 8), 3, channels=[4], mirror=True)
    x = torch.randn(5, 1, 8, 8)
    plain = nn.Sequential(*network)
    assert torch.equal(network.train()(x), plain.train()(x))
    network.eval()
    assert torch.allclose(network(x), network(x.flip(3)), atol=1e-6)
    assert torch.allclose(network(x), (plain(x) + plain(x.flip(3))) / 2)


def test_all_layers_are_pytorchs_own():
    for builder in (mlp, cnn):
        assert {type(layer).__module__.split(".")[0] for layer in builder((1, 8, 8), 10).modules()} == {
            "torch"
        }


@pytest.mark.parametrize(
    ("builder", "options", "message"),
    [
        (mlp, {"hidden": [0]}, r"`hidden` expects whole numbers above 0, as in \[128, 64\]; got \[0\]"),
        (mlp, {"hidden": "128"}, "`hidden` expects whole numbers above 0"),
        (mlp, {"hidden": [1.5]}, "`hidden` expects whole numbers above 0"),
        (mlp, {"hidden": True}, "`hidden` expects whole numbers above 0"),
        (mlp, {"dropout": 1}, "`dropout` expects a share from 0 up to, not including, 1; got 1"),
        (mlp, {"dropout": "a"}, "`dropout` expects a share"),
        (mlp, {"activation": 3}, "`activation` expects a name or a list of names; got 3"),
        (
            mlp,
            {"hidden": [4, 4], "activation": ["relu"]},
            "lists 1 names for 2 hidden layers: give one for each",
        ),
        (cnn, {"channels": [-1]}, "`channels` expects whole numbers above 0"),
        (cnn, {"channels": [4], "activation": ["relu", "elu"]}, "lists 2 names for 1 blocks"),
        (cnn, {"kernels": 4}, "`kernels` are odd sides"),
        (
            cnn,
            {"kernels": [3]},
            "`kernels` expects a whole number from 1 on, or a list of one for each of 2 blocks",
        ),
        (cnn, {"pools": 0}, "`pools` expects a whole number from 1 on"),
        (cnn, {"residual": -1}, "`residual` expects a whole number from 0 on"),
        (cnn, {"kernels": 9, "padded": False}, "an image of 8 x 8 pixels is used up"),
        (cnn, {"padded": [True]}, "`padded` lists 1 values for 2 blocks"),
        (cnn, {"padded": "no"}, "`padded` expects true or false"),
        (cnn, {"mirror": 1}, "`mirror` expects true or false"),
    ],
)
def test_impossible_options(builder, options, message):
    with pytest.raises(NetworkError, match=message):
        builder((1, 8, 8), 10, **options)


def test_cnn_refuses_what_is_no_image():
    with pytest.raises(NetworkError, match=r"expects images .* has the shape \(64,\).\nUse network 'mlp'"):
        cnn((64,), 10)


def test_unknown_activation():
    with pytest.raises(UnknownNameError, match="unknown activation 'relo': did you mean"):
        mlp((4,), 2, activation="relo")


def test_activations_of_ones_own(monkeypatch):
    monkeypatch.setitem(
        activations, "square", type("Square", (nn.Module,), {"forward": lambda self, x: x * x})
    )
    assert type(mlp((4,), 2, activation="square")[2]).__name__ == "Square"


@pytest.mark.parametrize("norm, groups", [("layer", 1), ("group", 2)])
def test_norms_of_each_example_are_those_of_torch(norm: str, groups: int) -> None:
    x = torch.randn(5, 6)
    dense = mlp((6,), 2, hidden=[6], norm=norm)[2]
    expected = F.layer_norm(x, (6,)) if norm == "layer" else F.group_norm(x, groups)
    assert torch.allclose(dense(x), expected, atol=1e-5)
    maps = torch.randn(2, 6, 4, 4)
    convolved = cnn((1, 8, 8), 2, channels=[6], norm=norm)[1]
    assert torch.allclose(convolved(maps), F.group_norm(maps, groups), atol=1e-5)


def test_a_norm_that_is_said_decides_and_the_others_are_known() -> None:
    assert [type(layer) for layer in mlp((6,), 2, hidden=[4], norm="none", batch_norm=True)][2] is nn.ReLU
    assert [type(layer) for layer in cnn((1, 8, 8), 2, channels=[4], norm="batch", batch_norm=False)][
        1
    ] is nn.BatchNorm2d
    assert cnn((1, 8, 8), 2, channels=[4], norm="none")[0].bias is not None
    residual = cnn((1, 8, 8), 2, channels=[8], norm="group", residual=1)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in residual.modules())
    with pytest.raises(UnknownNameError, match="did you mean 'layer'"):
        mlp((6,), 2, norm="layers")

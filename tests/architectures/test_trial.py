import random

import numpy as np
import pytest
import torch
from torch import nn

from netwright.architectures import network, try_on_example
from netwright.errors import NetworkError

EXAMPLE = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))


class Noisy(nn.Module):
    """Uses every random generator and changes its buffers, also in eval mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.norm.eval()
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        self.norm.train()
        self.norm(torch.cat([x, x + random.random()]))
        self.calls += 1
        assert not self.drop.training
        assert not torch.is_grad_enabled()
        return self.last(x + torch.rand(1) + np.random.rand())


def test_nothing_is_touched():
    module = Noisy().train()
    module.norm.eval()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(5)
    expected = random.random(), np.random.rand(), torch.rand(1)
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(5)
    before = {key: value.clone() for key, value in module.state_dict().items()}

    assert try_on_example(module, EXAMPLE, 3).shape == (1, 3)

    assert (random.random(), np.random.rand(), torch.rand(1)) == expected
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert [part.training for part in module.modules()] == [True, False, True, True]
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in module.modules())


def test_nothing_is_touched_when_it_fails():
    class Failing(Noisy):
        def forward(self, x):
            super().forward(x)
            raise ValueError("broken")

    module = Failing().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(NetworkError, match="ValueError: broken"):
        try_on_example(module, EXAMPLE, 3)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training and module.last.training and torch.is_grad_enabled()


class Giving(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        return self.outputs


@pytest.mark.parametrize(
    ("outputs", "count", "options", "message"),
    [
        (torch.zeros(1, 3), 10, {}, r"gives \(1, 3\) for one example, but \(1, 10\) is needed: 10 classes"),
        (torch.zeros(1, 3), 10, {}, "Change its last layer to 10 outputs"),
        (
            torch.zeros(10),
            10,
            {},
            r"gives \(10,\) .*\n`forward` takes a batch \(N, ...\) and must return one row",
        ),
        (torch.zeros(1, 10, 4, 4), 10, {}, r"gives \(1, 10, 4, 4\)"),
        (torch.zeros(2, 10), 10, {}, "one row for each example"),
        (torch.zeros(()), 10, {}, r"gives \(\)"),
        (torch.zeros(1, 1), 2, {}, "One output for two classes goes with the loss bce-with-logits"),
        (torch.zeros(1, 1), 3, {"single_logit": True}, r"\(1, 3\) is needed"),
        (torch.zeros(1, 2), 1, {"task": "regression"}, r"\(1, 1\) is needed: 1 number for each example"),
        (
            torch.zeros(1),
            1,
            {"task": "regression"},
            r"Keep the last dimension: return `outputs.unsqueeze\(1\)`",
        ),
        (torch.zeros(1, 10).long(), 10, {}, "gives torch.int64 .*\nReturn the outputs themselves"),
        (
            (torch.zeros(1, 10), 3),
            10,
            {},
            r"gives a tuple for one example, but one tensor \(1, 10\) is needed",
        ),
        ({"logits": 1}, 10, {}, "gives a dict"),
        (None, 10, {}, "gives a NoneType"),
    ],
)
def test_outputs_that_do_not_fit(outputs, count, options, message):
    with pytest.raises(NetworkError, match=message):
        try_on_example(Giving(outputs), EXAMPLE, count, **options)


@pytest.mark.parametrize(
    ("outputs", "count", "options"),
    [
        (torch.zeros(1, 10), 10, {}),
        (torch.zeros(1, 10).half(), 10, {}),
        (torch.zeros(1, 2), 2, {"single_logit": True}),
        (torch.zeros(1, 1), 2, {"single_logit": True}),
        (torch.zeros(1), 2, {"single_logit": True}),
        (torch.zeros(1, 1), 1, {"task": "regression"}),
    ],
)
def test_outputs_that_fit(outputs, count, options):
    assert try_on_example(Giving(outputs), EXAMPLE, count, **options) is outputs


def test_failure_in_forward_names_shape_text_and_the_persons_own_line(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.last = nn.Linear(7, 3)\n"
        "    def forward(self, x):\n"
        "        return self.head(x)\n"
        "    def head(self, x):\n"
        "        return self.last(x)\n"
    )
    with pytest.raises(NetworkError) as caught:
        try_on_example(network(f"{path}:Net"), EXAMPLE, 3)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the network cannot take an example of shape (1, 4) torch.float32:"
    assert lines[1].startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert lines[2] == f"at {path}:9"


def test_failure_in_pytorchs_own_layers_names_no_line():
    with pytest.raises(NetworkError) as caught:
        try_on_example(nn.Sequential(nn.Linear(7, 3)), EXAMPLE, 3)
    assert "\nat " not in str(caught.value)


def test_lazy_layers_are_given_their_shape():
    module = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Linear(5, 3))
    try_on_example(module, EXAMPLE, 3)
    assert module[0].weight.shape == (5, 4)

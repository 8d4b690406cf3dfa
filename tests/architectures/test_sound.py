"""The recurrent network over frames, against PyTorch's own layers called by hand."""

import pytest
import torch
from torch import nn

from netwright.architectures import count_parameters, network
from netwright.architectures.sound import sound_rnn
from netwright.errors import NetworkError, UnknownNameError


@pytest.mark.parametrize(("cell", "layer"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_it_is_the_mean_of_a_recurrent_layer_over_time(cell, layer):
    torch.manual_seed(0)
    ours = sound_rnn((2, 5, 7), 3, cell=cell, hidden=4, dropout=0.2).eval()
    torch.manual_seed(0)
    recurrent = layer(10, 4, num_layers=2, batch_first=True, dropout=0.2, bidirectional=True).eval()
    last = nn.Linear(8, 3)
    x = torch.rand(6, 2, 5, 7)
    frames = torch.stack([x[..., t].reshape(6, 10) for t in range(7)], dim=1)
    torch.testing.assert_close(ours(x), last(recurrent(frames)[0].mean(1)))


def test_options():
    one = network(
        "sound-rnn", input_shape=(1, 40, 98), num_outputs=10, layers=1, bidirectional=False, hidden=16
    )
    # 3 gates, weights for the input, for the state, and two biases; then the last layer.
    assert count_parameters(one) == 3 * (16 * 40 + 16 * 16 + 2 * 16) + 16 * 10 + 10
    assert one(torch.zeros(2, 1, 40, 98)).shape == (2, 10)
    assert one(torch.zeros(2, 1, 40, 30)).shape == (2, 10)  # any number of frames


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"cell": "grue"}, NetworkError, "`cell` expects gru or lstm; got 'grue'"),
        ({"hidden": 0}, NetworkError, "`hidden` expects a whole number above 0"),
        ({"layers": 1.5}, NetworkError, "`layers` expects a whole number above 0"),
        ({"dropout": 1}, NetworkError, "`dropout` expects a share"),
        ({"bidirectional": "yes"}, NetworkError, "`bidirectional` expects true or false"),
        ({"input_shape": (40,)}, NetworkError, "expects spectrograms"),
        ({"cells": "gru"}, UnknownNameError, "did you mean 'cell'"),
    ],
)
def test_what_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        network("sound-rnn", **({"input_shape": (1, 40, 98), "num_outputs": 10} | options))

"""The loop, held against the same loop written out by hand with PyTorch alone."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.data import epoch_order, load
from netwright.errors import CheckpointError, DataError, NetwrightError, RecipeError, UnknownNameError
from netwright.training.evaluation import Rows, evaluate, evaluation_mode, outputs_of
from netwright.training.loop import begin, train
from netwright.training.state import TrainingState


def small_data(count: int = 55) -> Any:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 6, generator=generator)
    return load(x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long(), validation=0.1, test_share=0.1).train


def small_network(**options: Any) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(options.get("dropout", 0.0)), nn.Linear(8, 3))


def by_hand(
    network: nn.Module, data: Any, *, epochs: int, batch: int, accumulate: int = 1, clip: float | None = None
) -> None:
    """The reference: gradient of the mean over all examples of a step, by one backward over them together."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for epoch in range(epochs):
        order = epoch_order(len(data), seed=5, epoch=epoch)
        for rows in order.split(batch * accumulate):
            x, y = data.prepared(rows)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            optimizer.step()


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("clip", [None, 0.05])
def test_it_is_the_loop_that_people_write_by_hand(clip: float | None) -> None:
    data, ours, reference = small_data(), small_network(), small_network()
    steps = list(
        train(ours, data, optimizer="sgd", lr=0.1, epochs=3, batch=8, seed=5, device="cpu", clip=clip)
    )
    by_hand(reference, data, epochs=3, batch=8, clip=clip)
    assert torch.equal(weights(ours), weights(reference))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.epoch for step in steps if step.ends_epoch] == [1, 2, 3]


def test_accumulation_is_the_gradient_of_the_larger_batch_also_where_the_last_is_smaller() -> None:
    data, ours, reference = small_data(), small_network(), small_network()
    assert len(data) % (8 * 3) not in (0, 8, 16), "the last group must end with a batch that is not full"
    steps = list(
        train(ours, data, optimizer="sgd", lr=0.1, epochs=2, batch=8, accumulate=3, seed=5, device="cpu")
    )
    by_hand(reference, data, epochs=2, batch=8, accumulate=3)
    torch.testing.assert_close(weights(ours), weights(reference), rtol=1e-5, atol=1e-6)
    assert len(steps) == 2 * -(-len(data) // 24)


def test_the_epochs_loss_is_the_mean_over_examples() -> None:
    data, network = small_data(), small_network()
    frozen = copy.deepcopy(network)
    for step in train(network, data, optimizer="sgd", lr=1e-12, epochs=1, batch=7, device="cpu"):
        if step.ends_epoch:
            x, y = data.prepared(slice(None))
            expected = nn.functional.cross_entropy(frozen(x), y)
            torch.testing.assert_close(step.state.epoch_loss.float(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", range(1, 18, 4))
def test_a_state_saved_anywhere_goes_on_bit_for_bit(at: int) -> None:
    options: dict[str, Any] = {"epochs": 3, "batch": 8, "device": "cpu"}
    options |= {"optimizer": "adam", "schedule": "cosine", "ema": 0.9, "seed": 3}
    data, whole = small_data(), small_network(dropout=0.5)
    torch.manual_seed(9)
    saved, losses = io.BytesIO(), []
    for step in train(whole, data, **options):
        losses.append(float(step.loss))
        if step.number == at:
            torch.save(step.state.state_dict(), saved)
    assert saved.tell(), "the run was too short for this place"

    again = small_network(dropout=0.5)
    state = begin(again, data, **options)
    torch.manual_seed(12345)
    saved.seek(0)
    state.load_state_dict(torch.load(saved, weights_only=True))
    rest = [float(step.loss) for step in train(again, data, epochs=3, batch=8, state=state)]
    assert rest == losses[at:]
    assert torch.equal(weights(again), weights(whole))


def test_mixed_precision_trains_and_keeps_float32_weights() -> None:
    for precision in ("bf16-mixed", "fp16-mixed"):
        data, network = small_data(200), small_network()
        losses = [
            float(step.loss)
            for step in train(
                network,
                data,
                optimizer="adam",
                lr=0.05,
                epochs=8,
                batch=20,
                device="cpu",
                precision=precision,
            )
        ]
        assert losses[-1] < 0.7 * losses[0]
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_any_sized_loader_will_do() -> None:
    data = [(torch.randn(4, 6), torch.randint(3, (4,))) for _ in range(5)]
    assert len(list(train(small_network(), data, epochs=2, device="cpu"))) == 10


def test_a_loader_that_ends_early_or_has_no_length_is_named() -> None:
    class Liar(list):
        def __len__(self) -> int:
            return 9

    with pytest.raises(DataError, match="ended after 2 batches"):
        list(train(small_network(), Liar([(torch.randn(4, 6), torch.randint(3, (4,)))] * 2), device="cpu"))
    with pytest.raises(DataError, match="no length"):
        train(small_network(), iter([]), device="cpu")
    with pytest.raises(DataError, match="nothing to train on"):
        train(small_network(), [], device="cpu")


def test_arguments_that_cannot_be() -> None:
    data = small_data()
    with pytest.raises(RecipeError, match="at least 1"):
        train(small_network(), data, batch=0)
    with pytest.raises(UnknownNameError, match="bf16-mixed"):
        train(small_network(), data, precision="bf16", device="cpu")
    with pytest.raises(UnknownNameError, match="device"):
        train(small_network(), data, device="gpu")
    with pytest.raises(UnknownNameError, match="adam"):
        train(small_network(), data, optimizer="addam", device="cpu")


def test_a_frozen_batch_norm_stays_frozen_through_an_evaluation() -> None:
    network = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))
    network.train()
    network[1].eval()
    with evaluation_mode(network):
        assert not any(module.training for module in network.modules())
        assert not torch.is_grad_enabled()
    assert network.training and network[0].training and not network[1].training


def test_evaluation_takes_the_loss_over_all_examples_at_once() -> None:
    data, network = small_data(), small_network()
    x, y = data.prepared(slice(None))
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2]))
    expected = loss(network(x), y).item()
    found = evaluate(network, data, loss, batch=7)
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["accuracy"] == pytest.approx((network(x).argmax(1) == y).float().mean().item())


def test_one_output_for_two_classes_is_judged_by_its_loss() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    nn.init.constant_(network[0].weight, 4.0)
    nn.init.zeros_(network[0].bias)
    x = torch.tensor([[-1.0], [1.0]])
    assert evaluate(network, [(x, torch.tensor([0, 1]))], nn.BCELoss())["accuracy"] == 1.0


def test_outputs_keep_their_order_and_empty_data_is_named() -> None:
    data, network = small_data(), small_network()
    outputs, targets = outputs_of(network, data, batch=7)
    assert torch.equal(targets, data.targets)
    torch.testing.assert_close(outputs, network(data.prepared(slice(None))[0]))
    with pytest.raises(DataError, match="nothing to evaluate"):
        outputs_of(network, [])


def test_pieces_of_known_number_lie_in_one_block() -> None:
    pieces = torch.randn(10, 3).split(4)
    rows = Rows(10)
    for piece in pieces:
        rows.add(piece)
    whole = rows.whole()
    assert torch.equal(whole, torch.cat(pieces)) and len(pieces) == 3
    assert all(one.untyped_storage().data_ptr() == whole.data_ptr() for one in rows.pieces)


@pytest.mark.parametrize("expected", [0, 3, 9, 11, 12])
def test_pieces_of_a_number_that_was_not_expected_are_joined(expected: int) -> None:
    pieces = [torch.randn(4, 3), torch.randn(2, 3), torch.randn(4, 3, dtype=torch.float64), torch.randn(1, 3)]
    rows = Rows(expected)
    for piece in pieces:
        rows.add(piece)
    assert torch.equal(rows.whole(), torch.cat(pieces))
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        rows.add(torch.randn(1, 1))  # not spread over the three columns
        rows.whole()


def test_weights_of_another_network_are_refused_by_name() -> None:
    data = small_data()
    state = begin(small_network(), data, device="cpu")
    other = begin(nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3)), data, device="cpu").state_dict()
    with pytest.raises(CheckpointError) as caught:
        state.load_state_dict(other)
    assert "0.weight is (9, 6) there and (8, 6) here" in str(caught.value)
    assert "3.weight" in str(caught.value) and len(str(caught.value).splitlines()) <= 4


def test_a_state_without_a_part_that_the_recipe_wants_is_refused() -> None:
    data = small_data()
    plain = begin(small_network(), data, device="cpu").state_dict()
    with pytest.raises(CheckpointError, match="average"):
        begin(small_network(), data, device="cpu", ema=0.9).load_state_dict(plain)
    with pytest.raises(CheckpointError, match="version"):
        TrainingState.load_state_dict(begin(small_network(), data, device="cpu"), {"version": 99})


def test_every_error_is_for_people() -> None:
    assert issubclass(CheckpointError, NetwrightError) and issubclass(NetwrightError, ValueError)

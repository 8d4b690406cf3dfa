import functools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from netwright.errors import NetworkError, RecipeError, UnknownNameError
from netwright.training.losses import FunctionLoss, losses, make_loss, match_targets, to_probabilities

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.0, 4.0], [0.0, 0.0, 0.0]])
IDS = torch.tensor([0, 2, 1, 1])
ONE_HOT = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0]])


def classes(name, **options):
    return make_loss(name, task="classification", num_classes=3, **options)


SHARES = LOGITS.softmax(1)
DISTANCE = (SHARES - ONE_HOT).abs()
CLOSED_FORMS = {
    "cross-entropy": (
        LOGITS,
        -(LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)).log()[range(4), IDS].mean(),
    ),
    "nll": (LOGITS.log_softmax(1), -SHARES.log()[range(4), IDS].mean()),
    "mse": (SHARES, DISTANCE.square().mean()),
    "l1": (SHARES, DISTANCE.mean()),
    "bce": (SHARES, -(ONE_HOT * SHARES.log() + (1 - ONE_HOT) * (1 - SHARES).log()).mean()),
    "bce-with-logits": (LOGITS, (LOGITS.exp().log1p() - ONE_HOT * LOGITS).mean()),
    "smooth-l1": (SHARES, (0.5 * DISTANCE.square()).mean()),
    "huber": (SHARES, (0.5 * DISTANCE.square()).mean()),
}


def test_every_loss_has_a_closed_form_here():
    assert set(CLOSED_FORMS) == set(losses)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_loss_of_classes_is_its_closed_form(name):
    outputs, expected = CLOSED_FORMS[name]
    loss = classes(name)
    assert type(loss).__module__.startswith("torch.")
    torch.testing.assert_close(loss(outputs, match_targets(IDS, loss, 3)), expected)
    torch.testing.assert_close(loss(outputs, match_targets(IDS, loss, outputs)), expected)


@pytest.mark.parametrize("name", ["mse", "smooth-l1", "huber", "l1"])
def test_loss_of_numbers_never_broadcasts(name):
    loss = make_loss(name, task="regression", num_classes=1)
    values, targets = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.5, 2.0, 1.0])
    difference = (values[:, 0] - targets).abs()
    quadratic = torch.where(difference < 1, 0.5 * difference.square(), difference - 0.5)
    expected = {"mse": difference.square(), "l1": difference}.get(name, quadratic).mean()
    matched = match_targets(targets, loss, 1)
    assert matched.shape == (3, 1)
    torch.testing.assert_close(loss(values, matched), expected)
    assert match_targets(targets, loss, values[:, 0]).shape == (3,)


def test_forecasts_meet_flat_outputs():
    targets = torch.arange(24.0).view(2, 4, 3)
    matched = match_targets(targets, nn.MSELoss(), torch.zeros(2, 12))
    assert torch.equal(matched, targets.flatten(1))
    assert torch.equal(match_targets(matched, nn.MSELoss(), torch.zeros(2, 4, 3)), targets)
    for wrong in ((2, 3, 4), (2, 4, 2), (4, 6), (2, 2, 2, 3)):
        with pytest.raises(NetworkError, match="one number for each value to predict"):
            match_targets(targets, nn.MSELoss(), torch.zeros(wrong))


def test_targets_that_fit_are_not_copied():
    targets = torch.zeros(4, 2)
    assert match_targets(targets, nn.MSELoss(), 2) is targets
    assert match_targets(IDS, nn.CrossEntropyLoss(), 3) is IDS
    assert match_targets(IDS, lambda outputs, ids: 0, 3) is IDS
    assert match_targets(ONE_HOT, nn.CrossEntropyLoss(), 3) is ONE_HOT


def test_masks_stay_masks():
    masks = torch.zeros(2, 4, 4, dtype=torch.int64)
    assert match_targets(masks, nn.CrossEntropyLoss(), 3) is masks


def test_single_output_for_two_classes():
    ids = torch.tensor([0, 1, 1])
    loss = classes("bce-with-logits")
    assert match_targets(ids, loss, 1).tolist() == [[0], [1], [1]]
    assert match_targets(ids, loss, torch.zeros(3, 1)).shape == (3, 1)
    assert match_targets(ids, loss, torch.zeros(3)).tolist() == [0, 1, 1]


def test_targets_take_the_outputs_precision_upwards_only():
    assert match_targets(IDS, nn.BCELoss(), torch.zeros(4, 3, dtype=torch.float64)).dtype is torch.float64
    assert match_targets(IDS, nn.MSELoss(), torch.zeros(4, 3, dtype=torch.bfloat16)).dtype is torch.float32


@pytest.mark.parametrize(
    ("targets", "outputs"), [((4, 3), 1), ((4,), 3), ((4, 1), 2), ((6,), torch.zeros(3, 2))]
)
def test_targets_that_do_not_fit(targets, outputs):
    with pytest.raises(NetworkError, match="but the targets are"):
        match_targets(torch.zeros(targets), nn.MSELoss(), outputs)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (F.cross_entropy, "cross-entropy"),
        (F.nll_loss, "nll"),
        (F.mse_loss, "mse"),
        (F.l1_loss, "l1"),
        (F.huber_loss, "huber"),
        (F.smooth_l1_loss, "smooth-l1"),
        (F.binary_cross_entropy, "bce"),
        (F.binary_cross_entropy_with_logits, "bce-with-logits"),
    ],
)
def test_functions_and_partials_are_known_for_what_they_are(function, name):
    outputs, expected = CLOSED_FORMS[name]
    for loss in (function, functools.partial(function, reduction="mean"), classes(function)):
        torch.testing.assert_close(loss(outputs, match_targets(IDS, loss, 3)), expected)
        torch.testing.assert_close(to_probabilities(outputs, loss), to_probabilities(outputs, losses[name]()))


def test_probabilities_of_logits_and_log_probabilities():
    expected = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
    for loss in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1), lambda outputs, ids: 0):
        torch.testing.assert_close(to_probabilities(LOGITS, loss), expected)
    torch.testing.assert_close(to_probabilities(LOGITS.log_softmax(1), nn.NLLLoss()), expected)


def test_probabilities_of_classes_taken_apart():
    sigmoid = 1 / (1 + torch.exp(-LOGITS))
    expected = sigmoid / sigmoid.sum(1, keepdim=True)
    torch.testing.assert_close(to_probabilities(LOGITS, nn.BCEWithLogitsLoss()), expected)
    rows = torch.tensor([[0.5, 1.5, -1.0], [0.2, 0.2, 0.1], [-1.0, -2.0, -3.0]])
    third = 1 / 3
    expected = torch.tensor([[third, 2 * third, 0], [0.4, 0.4, 0.2], [third, third, third]])
    for name in ("mse", "bce", "l1", "huber", "smooth-l1"):
        torch.testing.assert_close(to_probabilities(rows, losses[name]()), expected)


@pytest.mark.parametrize("shape", [(2, 1), (2,)])
def test_probabilities_of_a_single_output(shape):
    outputs = torch.tensor([0.25, 2.0]).reshape(shape)
    torch.testing.assert_close(
        to_probabilities(outputs, nn.BCELoss()), torch.tensor([[0.75, 0.25], [0.0, 1.0]])
    )
    one = 1 / (1 + math.exp(-0.25))
    assert to_probabilities(outputs, nn.BCEWithLogitsLoss())[0].tolist() == pytest.approx([1 - one, one])


def test_probabilities_have_no_gradient_and_at_least_single_precision():
    outputs = LOGITS.bfloat16().requires_grad_()
    probabilities = to_probabilities(outputs, nn.CrossEntropyLoss())
    assert probabilities.dtype is torch.float32
    assert not probabilities.requires_grad


def test_balanced_weights_are_scikit_learns():
    labels = [0] * 5 + [1] * 2 + [2] * 13
    loss = classes("cross-entropy", class_weights="balanced", class_counts=[5, 2, 13])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert loss.weight.tolist() == pytest.approx(expected.tolist())


def test_weights_and_smoothing_do_what_torch_does():
    loss = classes("cross-entropy", class_weights=[1, 2, 0.5], label_smoothing=0.1)
    expected = F.cross_entropy(LOGITS, IDS, weight=torch.tensor([1, 2, 0.5]), label_smoothing=0.1)
    assert torch.equal(loss(LOGITS, IDS), expected)
    assert torch.equal(classes("nll", class_weights=[1, 2, 3]).weight, torch.tensor([1.0, 2, 3]))
    loss = classes(F.cross_entropy, class_weights=[1, 2, 0.5], label_smoothing=0.1)
    assert torch.equal(loss(LOGITS, IDS), expected)


def test_own_options_and_lists_as_tensors():
    assert classes("huber", delta=2.0).delta == 2.0
    assert torch.equal(classes("bce-with-logits", pos_weight=[1, 2, 3]).pos_weight, torch.tensor([1.0, 2, 3]))


def test_losses_of_ones_own(monkeypatch):
    def squared(outputs, targets, power=2):
        return (outputs.argmax(1) - targets).abs().pow(power).float().mean()

    module = nn.MSELoss()
    assert classes(module) is module
    assert isinstance(classes(squared), FunctionLoss)
    assert "squared" in repr(classes(squared))
    assert classes(squared, power=3)(LOGITS, IDS) == squared(LOGITS, IDS, power=3)
    monkeypatch.setitem(losses, "squared", squared)
    assert classes("squared", power=1)(LOGITS, IDS) == squared(LOGITS, IDS, power=1)
    with pytest.raises(UnknownNameError, match="unknown squared option 'pow': did you mean 'power'"):
        classes("squared", pow=1)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("cross-entrpy", {}, UnknownNameError, "unknown loss 'cross-entrpy': did you mean 'cross-entropy'"),
        ("huber", {"dleta": 1}, UnknownNameError, "unknown huber option 'dleta': did you mean 'delta'"),
        ("mse", {"reduce": True}, UnknownNameError, "unknown mse option 'reduce'"),
        ("mse", {"reduction": "none"}, RecipeError, "training needs one number: 'mean' or 'sum'"),
        (
            "mse",
            {"class_weights": [1, 1, 1]},
            RecipeError,
            "mse takes no class weights; these do: cross-entropy, nll$",
        ),
        (
            "bce-with-logits",
            {"class_weights": [1, 1, 1]},
            RecipeError,
            "these do: cross-entropy, nll\nFor it, see its own option pos_weight",
        ),
        (
            "nll",
            {"label_smoothing": 0.1},
            RecipeError,
            "nll takes no label smoothing; these do: cross-entropy$",
        ),
        ("cross-entropy", {"label_smoothing": 1.0}, RecipeError, "from 0 up to, not including, 1; got 1.0"),
        (
            "cross-entropy",
            {"class_weights": "even"},
            RecipeError,
            "'balanced' or a list of numbers; got 'even'",
        ),
        ("cross-entropy", {"class_weights": "balanced"}, RecipeError, r"need .* \(class_counts\)"),
        ("cross-entropy", {"class_weights": [1, 2]}, RecipeError, "3 are needed, one for each class; got 2"),
        ("cross-entropy", {"class_weights": [1, -2, 1]}, RecipeError, "numbers of at least 0, not all 0"),
        ("cross-entropy", {"class_weights": [0, 0, 0]}, RecipeError, "numbers of at least 0, not all 0"),
        (
            "cross-entropy",
            {"class_weights": "balanced", "class_counts": [3, 0, 1]},
            RecipeError,
            "no training example of class 1",
        ),
        (nn.MSELoss(), {"reduction": "sum"}, RecipeError, "already built: give its options"),
        (nn.CrossEntropyLoss(), {"label_smoothing": 0.1}, RecipeError, "already built"),
        (3, {}, RecipeError, "a loss is a name, a module or a function"),
    ],
)
def test_what_a_loss_cannot_do(name, options, error, message):
    with pytest.raises(error, match=message):
        classes(name, **options)


@pytest.mark.parametrize("name", ["cross-entropy", "nll", nn.CrossEntropyLoss])
def test_losses_of_classes_refuse_numbers(name):
    with pytest.raises(RecipeError, match=r"is for classes, but the targets are numbers.\nUse one of mse"):
        make_loss(name, task="regression", num_classes=1)


def test_numbers_have_no_class_weights():
    with pytest.raises(RecipeError, match="class weights: the targets are numbers"):
        make_loss("mse", task="regression", num_classes=1, class_weights=[1])

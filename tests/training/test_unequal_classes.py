"""Test what helps rare classes: weights in the training loss, and class-balanced epochs."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import assert_same, assert_same_run, state, steps_logged

from imgrec import assembly, launch, losses
from imgrec.config.compose import compose
from imgrec.errors import UsageError

UNEQUAL = ("data.imbalance=0.1", "trainer.max_epochs=2")


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels_n = torch.tensor([0] * 10 + [1] * 5 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels_n.numpy())
    found = losses.balanced_weights(labels_n, 3)
    assert found.tolist() == pytest.approx(expected.tolist())
    assert float(found[labels_n].mean()) == pytest.approx(1)
    with pytest.raises(ValueError, match="got none of class 3"):
        losses.balanced_weights(labels_n, 4)


def test_a_weighted_loss_weighs_images_by_their_class_and_mixtures_by_theirs() -> None:
    losses_n, weights_k = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 3.0])
    target = torch.tensor([0, 1, 1])
    assert float(losses.weighted_mean(losses_n, target, weights_k)) == pytest.approx((1 + 6 + 12) / 3)
    rows = torch.nn.functional.one_hot(target).float()
    assert float(losses.weighted_mean(losses_n, rows, weights_k)) == pytest.approx((1 + 6 + 12) / 3)
    half = torch.full((3, 2), 0.5)
    assert float(losses.weighted_mean(losses_n, half, weights_k)) == pytest.approx(2 * (1 + 2 + 4) / 3)


def test_weights_change_the_training_and_not_what_is_measured(undisturbed: Callable[..., Path]) -> None:
    plain = undisturbed(*UNEQUAL)
    same = undisturbed(*UNEQUAL, "loss.class_weights=[1,1,1]")
    other = undisturbed(*UNEQUAL, "loss.class_weights=balanced")
    assert_same(state(plain)["state_dict"], state(same)["state_dict"])
    trained = [torch.cat([each.flatten() for each in state(run)["state_dict"].values()]) for run in (plain, other)]
    assert not torch.equal(*trained)
    assert state(plain)["state_dict"].keys() == state(other)["state_dict"].keys(), "weights of classes are no weights"


@pytest.mark.parametrize("words", [("data.sampler=balanced", "augment=crop_flip"), ("loss.class_weights=balanced",)])
@pytest.mark.long
def test_a_run_that_was_cut_goes_on_to_the_same_bits(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    words: tuple[str, ...],
) -> None:
    command = ["train", *tiny, *UNEQUAL, *words, "hydra.run.dir=cut"]
    child = imgrec(*command)
    steps = 4 * 2  # 60 images with this tail are 26: 4 steps an epoch
    assert child.signal_when(lambda: steps_logged(Path("cut")) >= steps // 2 + 1, signal.SIGTERM) == 143
    again = imgrec(*command)
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*UNEQUAL, *words), workplace / "cut")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss.class_weights=heavy", r"must be none, balanced or a list with a number for each class, got 'heavy'"),
        ("loss.class_weights=[]", r"must be none, balanced or a list with a number for each class, got \[\]"),
        ("loss.class_weights=[1,0,1]", r"loss\.class_weights must be > 0 and finite, got 0"),
        ("loss.class_weights=[1,x,1]", r"loss\.class_weights must be a number, or a list of numbers, got 'x'"),
        ("data.sampler=weighted", r"data\.sampler must be one of shuffle, balanced, got 'weighted'"),
    ],
)
def test_what_is_no_weight_or_sampler_is_refused(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compose(["data=digits", word])


def test_another_number_of_weights_than_classes_is_refused(tiny: list[str]) -> None:
    with pytest.raises(UsageError, match=r"loss\.class_weights must have a number for each of 3 classes, got 2"):
        launch.train([*tiny, "loss.class_weights=[1,2]"])


def test_balance_by_two_means_is_told(tiny: list[str], caplog: pytest.LogCaptureFixture) -> None:
    words = [*tiny, "loss.class_weights=balanced"]
    for sampler, told in (("shuffle", False), ("balanced", True)):
        config = compose([*words, f"data.sampler={sampler}"])
        assembly.classifier(config, assembly.source(config), run_id="", fingerprint="", resumed=False)
        assert ("together do so twice" in caplog.text) is told


def test_pruning_and_balance_exclude_each_other(tiny: list[str]) -> None:
    words = [*tiny, "data.sampler=balanced", "data.prune=0.4", "trainer.max_epochs=3"]
    with pytest.raises(UsageError, match=r"data\.prune needs data\.sampler=shuffle, .* or give data\.prune=0"):
        launch.train(words)
    compose([*words, "data.prune=0"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_balance_raises_macro_f1_on_long_tailed_digits(workplace: Path) -> None:
    """A short training, two seeds: without help the rare classes are not learned at all (experiments/longtail)."""
    from imgrec import load_runs

    words = ["experiment=demo", "data.imbalance=0.02", "trainer.max_epochs=4", "trainer=cpu", "trainer.threads=1"]
    ways = {"neither": [], "sampler": ["data.sampler=balanced"], "weights": ["loss.class_weights=balanced"]}
    for way, more in ways.items():
        for seed in range(2):
            launch.train([*words, *more, "trainer.progress=none", f"seed={seed}", f"hydra.run.dir={way}/{seed}"])
    means = {way: float(load_runs(way).test_macro_f1_last.mean()) for way in ways}
    assert means["sampler"] > means["neither"] + 0.2
    assert means["weights"] > means["neither"] + 0.2

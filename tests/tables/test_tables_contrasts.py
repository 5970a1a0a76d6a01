"""Test that the contrasts that a study declared as primary, or a command asks for, come first in its table."""

import dataclasses
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from answered import lay_answers, predicted
from fake_runs import Shown, lay, lay_sweep, run, score
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel

from imgrec import statistics

Table = Callable[..., Shown]
BEGINS = "Primary contrast, declared in the study: test top1 % at "


def declare(*words: str) -> Mapping[str, object]:
    return {"primary": list(words)}


def lay_declared(place: Path, outcomes: Mapping[str, Sequence[float]], *words: str) -> None:
    for setting, tops in outcomes.items():
        for seed, top1 in enumerate(tops):
            scores = [score("top1", top1, at="best"), score("top1", top1 - 0.1), score("ece", 0.1 + top1 / 10)]
            lay(place, run(f"{setting} seed={seed}", *scores, config=declare(*words)))


ADAM, SGD, BEST = [0.80, 0.82, 0.81, 0.83], [0.70, 0.73, 0.70, 0.74], [0.90, 0.95, 0.93, 0.96]


def test_a_declared_contrast_is_told_first_with_its_uncorrected_p(table: Table, runs: Path) -> None:
    values = {"optimizer=adam": ADAM, "optimizer=sgd": SGD, "optimizer=muon": BEST}
    lay_declared(runs, values, "top1 at last: optimizer=adam vs optimizer=sgd")
    found = statistics.paired(dict(enumerate(ADAM)), dict(enumerate(SGD)))
    assert found is not None
    assert found.p is not None
    assert found.low is not None
    assert found.high is not None
    shown = table("--at", "last")
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
    assert shown.verdict.startswith(
        f"{BEGINS}last: optimizer=adam leads optimizer=sgd by {100 * found.mean:.2f} points [{100 * found.low:.2f},"
        f" {100 * found.high:.2f}] (4 seeds each, these images, {p})."
        " test top1 %: optimizer=muon is best;"
    )


def test_whoever_leads_is_named_first_and_lower_errors_lead(table: Table, runs: Path) -> None:
    values = {"optimizer=adam": ADAM, "optimizer=sgd": SGD}
    lay_declared(runs, values, "top1: optimizer=sgd vs optimizer=adam", "ece at last: optimizer=adam vs optimizer=sgd")
    said = table("--scores", "top1,ece", "--at", "last").verdict
    assert f"{BEGINS}last: optimizer=adam leads optimizer=sgd by 9.75 points [" in said
    assert "test ece % at last: optimizer=sgd leads optimizer=adam by 0.98 points [0." in said


def test_a_contrast_that_cannot_be_told_says_so(table: Table, runs: Path) -> None:
    lay_declared(
        runs, {"optimizer=adam": [0.8, 0.7], "optimizer=sgd": [0.7, 0.75]}, "top1: optimizer=adam vs optimizer=sgd"
    )
    assert table().verdict.startswith(f"{BEGINS}best: can't tell; optimizer=adam leads optimizer=sgd by 2.50 points [")


def test_with_another_factor_each_of_its_values_has_the_contrast_and_p_is_corrected(table: Table, runs: Path) -> None:
    values = {
        "loss=mse optimizer=adam": ADAM,
        "loss=mse optimizer=sgd": SGD,
        "loss=brier optimizer=adam": BEST,
        "loss=brier optimizer=sgd": SGD,
    }
    lay_declared(runs, values, "top1: optimizer=adam vs optimizer=sgd")
    said = table().verdict
    ps = []
    for ours in (BEST, ADAM):
        found = statistics.paired(dict(enumerate(ours)), dict(enumerate(SGD)))
        assert found is not None
        ps.append(found.p)
    told = ["< 0.001" if p < 0.001 else f"= {p:.2g}" for p in statistics.holm(ps) if p is not None]
    assert "loss=brier optimizer=adam leads loss=brier optimizer=sgd by 21.75 points" in said
    assert [part.split(")")[0] for part in said.split(", p ")[1:]] == told


@pytest.mark.parametrize("more", [(), ("--rows", "optimizer")])
def test_a_filter_does_not_make_the_p_of_a_declared_contrast_smaller(
    table: Table, runs: Path, more: tuple[str, ...]
) -> None:
    values = {
        "loss=mse optimizer=adam": [0.80, 0.82, 0.81, 0.80],
        "loss=mse optimizer=sgd": [0.79, 0.80, 0.80, 0.80],
        "loss=brier optimizer=adam": [0.70, 0.72, 0.71, 0.69],
        "loss=brier optimizer=sgd": [0.71, 0.72, 0.73, 0.74],
        "loss=focal optimizer=adam": [0.90, 0.91, 0.92, 0.89],
    }
    lay_declared(runs, values, "top1: optimizer=adam vs optimizer=sgd")
    lay_declared(runs, {"loss=focal optimizer=muon": [0.5]}, "top1: optimizer=adam vs optimizer=muon")
    every = re.search(r"loss=mse optimizer=adam leads .*? these images, p = ([\d.]+)\)", table().verdict)
    alone = table("--where", "loss=mse", *more).verdict
    found = re.search(r"optimizer=adam leads .*? these images, p = ([\d.]+)\)", alone)
    assert every is not None
    assert found is not None
    assert found[1] == every[1]
    assert ". --where leaves out 1 more; p is corrected over it, too." in alone


def test_where_predictions_are_kept_new_images_are_told_of_too(table: Table, runs: Path) -> None:
    random = np.random.default_rng(0)
    adam, sgd = (random.random((3, 200)) < share for share in (0.85, 0.8))
    rows = {
        "optimizer=adam": [predicted(list(row)) for row in adam],
        "optimizer=sgd": [predicted(list(row)) for row in sgd],
    }
    lay_answers(runs, rows, config=declare("top1: optimizer=adam vs optimizer=sgd"))
    change = statistics.difference_over_both(adam, sgd, paired=True)
    assert change.p is not None
    assert f"(p = {change.p:.2g})" in table().verdict.partition("; new images: [")[2]


@pytest.mark.parametrize("other", ["loss=focal loss.gamma=2.0", "loss=cross_entropy loss.gamma=–"])
def test_choices_of_one_name_are_told_apart_by_a_key_of_both_sides(other: str, table: Table, runs: Path) -> None:
    values = {"loss=focal_3": ADAM, "loss=focal": SGD, "loss=cross_entropy": SGD}
    lay_declared(runs, values, f"top1: loss=focal loss.gamma=3.0 vs {other}")
    assert table().verdict.startswith(f"{BEGINS}best: loss=focal loss.gamma=3 leads {other.removesuffix('.0')} by 9.75")


def test_a_setting_that_one_choice_lacks_hinders_no_contrast(table: Table, runs: Path) -> None:
    lay_declared(
        runs,
        {"loss=focal_3": ADAM, "loss=focal": BEST, "loss=cross_entropy": SGD},
        "top1: loss=focal vs loss=cross_entropy",
    )
    said = table().verdict
    for gamma, lead in (("2", "21.75"), ("3", "9.75")):
        assert f"best: loss=focal loss.gamma={gamma} leads loss=cross_entropy loss.gamma=– by {lead} points [" in said


def test_one_run_each_tells_of_these_two_networks_and_not_of_their_settings(table: Table, runs: Path) -> None:
    """This holds whatever their images show, as another seed may reverse the difference."""
    answers = {
        "optimizer=adam": [predicted([True] * 190 + [False] * 10)],
        "optimizer=sgd": [predicted([True] * 150 + [False] * 50)],
    }
    lay_answers(runs, answers, config=declare("top1: optimizer=adam vs optimizer=sgd"))
    said = table().verdict
    assert said.startswith(
        f"{BEGINS}best: can't tell of the settings; optimizer=adam leads optimizer=sgd by 20.00 points (1 seed each,"
        " these images); these two runs on new images: ["
    )
    assert "] (p < 0.001)" in said


def test_differences_without_a_spread_tell_nothing_of_the_settings(table: Table, runs: Path) -> None:
    values = {"optimizer=adam": [0.75, 0.75], "optimizer=sgd": [0.5, 0.5]}
    lay_declared(runs, values, "top1: optimizer=adam vs optimizer=sgd")
    assert table().verdict.startswith(f"{BEGINS}best: can't tell of the settings; optimizer=adam leads ")


def test_a_contrast_without_runs_is_told_to_have_none(table: Table, runs: Path) -> None:
    lay_declared(runs, {"optimizer=adam": ADAM}, "top1: optimizer=adam vs optimizer=sgd")
    assert table().verdict.startswith(
        f"{BEGINS}best, optimizer=adam vs optimizer=sgd: no run here has optimizer=sgd; there is adam. "
    )
    lay_declared(runs, {"optimizer=sgd loss=mse": SGD}, "top1: optimizer=adam vs optimizer=sgd")
    assert "optimizer=adam vs optimizer=sgd: there are no runs of both that are alike otherwise. " in table().verdict


def test_values_that_no_run_has_are_named_with_those_that_there_are(table: Table, runs: Path) -> None:
    words = "top1: optimizer=adam optimizer.lr_scale=3 vs optimizer=sgd optimizer.lr_scale=0.5"
    lay_declared(runs, {"optimizer=adam optimizer.lr_scale=0.1": ADAM, "optimizer=sgd": SGD}, words)
    assert (
        f"{words.partition(': ')[2]}: no run here has optimizer.lr_scale=3 or optimizer.lr_scale=0.5; there is 0.1, 1."
        in table().verdict
    )
    swapped = "top1: optimizer=adam optimizer.lr_scale=1 vs optimizer=sgd optimizer.lr_scale=0.1"
    lay_declared(runs, {"optimizer=muon": SGD}, swapped)
    assert "no run here has optimizer=adam and optimizer.lr_scale=1 at once." in table().verdict


@pytest.mark.parametrize(
    ("declaration", "words", "way_out"),
    [
        ("top1", "--protocol tta_flip", "--protocol clean"),
        ("top1 at last", "", "--at last"),
        ("top1", "--scores loss", "--scores top1"),
        ("top1 at best", "--split val --at last --protocol tta_flip", "--split test --protocol clean --at best"),
    ],
)
def test_another_score_than_the_declared_one_is_not_told_as_primary(
    table: Table, runs: Path, declaration: str, words: str, way_out: str
) -> None:
    for name, top1 in (("adam", 0.8), ("sgd", 0.7)):
        for seed in range(2):
            made = [
                score(metric, top1 + seed / 50, split=split, at=at, protocol=protocol)
                for metric in ("top1", "loss")
                for split in ("test", "val")
                for at in ("best", "last")
                for protocol in ("clean", "tta_flip")
            ]
            config = declare(f"{declaration}: optimizer=adam vs optimizer=sgd")
            lay(runs, run(f"optimizer={name} seed={seed}", *made, config=config))
    said = table(*words.split()).verdict
    at = "last" if "last" in declaration else "best"
    assert said.startswith(
        "The primary contrast of the study, optimizer=adam vs optimizer=sgd, was declared for test top1 % at"
        f" {at}, which this table does not show; give {way_out}. "
    )
    assert "Primary contrast, declared" not in said
    assert table(*way_out.split()).verdict.startswith(f"{BEGINS}{at}: ")


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("--protocol clean,tta_flip --names names.toml", "Accuracy, clean"),
        ("--protocol clean:precision=32", "test top1 %, clean precision=32"),
    ],
)
def test_the_declared_scores_are_shown_under_any_name_and_with_the_settings_they_have(
    table: Table, runs: Path, words: str, label: str
) -> None:
    Path("names.toml").write_text('"test top1" = "Accuracy"\n')
    for name, top1 in (("adam", 0.8), ("sgd", 0.7)):
        for seed in range(2):
            scores = [score("top1", top1 + seed / 50, at="best", protocol=each) for each in ("clean", "tta_flip")]
            scores.append(dataclasses.replace(scores[0], value=0.5, settings={"precision": "bf16"}))
            config = declare("top1: optimizer=adam vs optimizer=sgd")
            lay(runs, run(f"optimizer={name} seed={seed}", *scores, config=config))
    assert table(*words.split()).verdict.startswith(f"Primary contrast, declared in the study: {label} at best: ")
    others = table("--protocol", "clean:precision=bf16").verdict
    assert "which this table does not show; give --protocol clean. " in others
    assert table("--protocol", "clean").verdict.startswith(BEGINS)


def test_parents_are_named_as_the_table_shows_them(
    table: Table, runs: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    parents = {"outputs/opt-adam_lr-1_seed-3-abcdef01": 0.8, "outputs/opt-adam_lr-2_seed-3-abcdef02": 0.7, None: 0.9}
    for optimizer in ("adam", "sgd"):
        for parent, top1 in parents.items():
            for seed in range(2):
                owner = {"parent": parent, "parent_id": str(parent)[-8:] * 8} if parent else {}
                top = score("top1", top1 + seed / 50, at="best")
                config = declare("top1: parent=lr-1 vs parent=lr-2")
                made = run(f"optimizer={optimizer} seed={seed}", top, config=config, **owner)
                lay(runs, made, f"{optimizer}_{seed}_{top1}")
    assert {row["parent"] for row in table().rows} == {"lr-1", "lr-2", "–"}
    for words in ((), ("--where", "optimizer=adam")):
        verdict = table(*words).verdict
        assert verdict.startswith(f"{BEGINS}best: ")
        assert re.search(r"parent=lr-1 leads (optimizer=adam )?parent=lr-2 by 10\.00 points", verdict)
    kept = table("--where", "parent=lr-1").verdict
    assert "no run here has parent=opt-adam_lr-2; there is resumed." in kept
    code, _, said = command("table", str(runs), "--rows", "optimizer")
    assert code == 2
    assert "as it varies (lr-1, lr-2, –) beside optimizer; name it as well, or fix it with --where parent=lr-1" in said
    shown = table("--rows", "optimizer", *shlex.split(said[said.index("--where") :]))
    assert [row["optimizer"] for row in shown.rows] == ["adam", "sgd"]


def test_a_contrast_that_is_not_shown_counts_in_the_correction_of_p(table: Table, runs: Path) -> None:
    rows = {"optimizer=adam": [0.80, 0.82, 0.81, 0.80], "optimizer=sgd": [0.79, 0.80, 0.80, 0.80]}
    lay_declared(runs, rows, "top1: optimizer=adam vs optimizer=sgd", "ece: optimizer=adam vs optimizer=sgd")
    found = [
        re.search(r"top1 % at last: .*? p = ([\d.]+)\)", table("--at", "last", *more).verdict)
        for more in ((), ("--scores", "top1,ece"))
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0][1] == found[1][1]
    p = ttest_rel(*rows.values()).pvalue
    assert float(found[0][1]) == pytest.approx(2 * p, rel=0.05)


def test_losses_of_different_criteria_are_no_contrast(table: Table, runs: Path) -> None:
    for words in ("loss=mse", "loss=brier"):
        for seed in range(2):
            both = [score("loss", 0.5 + seed / 10), score("top1", 0.5)]
            lay(runs, run(f"{words} seed={seed}", *both, config=declare("loss at last: loss=mse vs loss=brier")))
    said = table("--scores", "loss", "--at", "last").verdict
    assert "test loss at last, loss=mse vs loss=brier: they do not measure the same." in said


def test_a_primary_score_is_what_the_verdict_is_about(table: Table, runs: Path) -> None:
    lay_declared(runs, {"optimizer=adam": ADAM, "optimizer=sgd": SGD}, "ece at last")
    assert table("--scores", "top1,ece").verdict.startswith("test ece %: ")
    shown = table()
    assert shown.verdict.startswith("test top1 %: ")
    assert "declared as primary and not shown: ece; give --scores ece" in shown.notes
    lay_declared(runs, {"optimizer=muon": BEST}, "iou at last")
    assert "declared as primary, and measured by no run here: iou" in table().notes


def test_what_another_version_declared_otherwise_is_left_out(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=adam": ADAM, "optimizer=sgd": SGD}, config={"primary": ["a b c", 7]})
    assert table().verdict.startswith("test top1 %: optimizer=adam is best")


def test_what_a_contrast_has_said_is_not_said_again(table: Table, runs: Path) -> None:
    words = "top1: optimizer=adam vs optimizer=sgd"
    lay_declared(runs, {"optimizer=adam": ADAM, "optimizer=sgd": SGD}, words)
    assert table().verdict.count("leads") == 1
    assert table("--at", "last").verdict.count("leads") == 1, "it goes along with the table"
    lay_declared(runs, {"optimizer=muon": [0.1, 0.2, 0.1, 0.3]}, words)
    assert table().verdict.endswith("). Of all settings it is optimizer=adam that is best.")
    lay_declared(runs, {"optimizer=rmsprop": BEST}, words)
    assert table().verdict.count("leads") == 2
    assert "optimizer=rmsprop is best; it leads optimizer=adam, the next, by " in table().verdict


def test_where_the_contrast_is_too_small_to_mark_the_seeds_that_it_needs_follow(table: Table, runs: Path) -> None:
    adam, sgd = [0.80, 0.70, 0.78, 0.76], [0.70, 0.75, 0.76, 0.72]
    values = {"optimizer=adam": adam, "optimizer=sgd": sgd, "optimizer=muon": [0.10, 0.12, 0.11, 0.10]}
    lay_declared(runs, values, "top1: optimizer=adam vs optimizer=sgd")
    p = ttest_rel(adam, sgd).pvalue
    said = table().verdict
    assert said.count("leads") == 1
    assert f"these images, p = {p:.2g}). None of all settings is marked as best; if lead and deviation are as" in said


def test_a_lead_of_new_seeds_that_new_images_do_not_show_says_so(table: Table, runs: Path) -> None:
    """Each seed of adam gets the same 9 images more than sgd, and 3 or 4 others less. All seeds of sgd are equal."""
    sgd = np.arange(200) < 150
    rows = []
    for lost in ([0, 1, 2], [3, 4, 5], [6, 7, 8, 9]):
        adam = sgd.copy()
        adam[150:159], adam[lost] = True, False
        rows.append(adam)
    answers = {
        "optimizer=adam": [predicted(row.tolist()) for row in rows],
        "optimizer=sgd": [predicted(sgd.tolist()) for _ in rows],
    }
    lay_answers(runs, answers, config=declare("top1: optimizer=adam vs optimizer=sgd"))
    change = statistics.difference_over_both(np.stack(rows), np.stack([sgd] * 3), paired=True)
    said = table().verdict
    assert change.p == pytest.approx(0.0747, abs=1e-4)
    assert ", p = 0.0034)" in said
    assert said.endswith("(p = 0.075: of them can't tell).")


INTERACTION = "top1 at last: optimizer=adam vs optimizer=sgd under loss=mse vs loss=brier"
LEADS = {
    "optimizer=adam loss=mse": [0.80, 0.86, 0.75, 0.83],
    "optimizer=sgd loss=mse": [0.70, 0.73, 0.70, 0.74],
    "optimizer=adam loss=brier": [0.79, 0.80, 0.80, 0.82],
    "optimizer=sgd loss=brier": [0.78, 0.80, 0.77, 0.80],
}


def test_how_far_a_lead_depends_on_a_condition_is_a_difference_of_differences(table: Table, runs: Path) -> None:
    lay_declared(runs, LEADS, INTERACTION)
    a, b, c, d = map(np.array, LEADS.values())
    changes = 100 * ((a - b) - (c - d))
    test = ttest_1samp(changes, 0)
    low, high = test.confidence_interval()
    said = table("--at", "last").verdict
    assert said.startswith(
        f"{BEGINS}last: the lead of optimizer=adam over optimizer=sgd is {100 * (a - b).mean():.2f} points with"
        f" loss=mse and {100 * (c - d).mean():.2f} points with loss=brier, a difference of {changes.mean():.2f} points"
        f" [{low:.2f}, {high:.2f}] (4 seeds each, these images, p = {test.pvalue:.2g})."
    )
    assert " test top1 %: " in said.removeprefix(BEGINS)  # the standing of all settings follows


def test_the_condition_with_the_larger_lead_is_named_first_and_its_lead_may_be_negative(
    table: Table, runs: Path
) -> None:
    lay_declared(runs, LEADS, "top1 at last: optimizer=sgd vs optimizer=adam under loss=mse vs loss=brier")
    said = table("--at", "last").verdict
    assert f"{BEGINS}last: the lead of optimizer=sgd over optimizer=adam is -1.50 points with loss=brier and" in said
    assert "-9.25 points with loss=mse, a difference of 7.75 points [" in said


def test_conditions_with_other_seeds_are_taken_as_independent(table: Table, runs: Path) -> None:
    for setting, tops in LEADS.items():
        for seed, top1 in enumerate(tops, start=10 if "brier" in setting else 0):
            lay(runs, run(f"{setting} seed={seed}", score("top1", top1), config=declare(INTERACTION)))
    a, b, c, d = map(np.array, LEADS.values())
    expected = ttest_ind(a - b, c - d, equal_var=False).pvalue
    assert f"p = {expected:.2g})" in table("--at", "last").verdict


def test_an_interaction_that_is_not_certain_says_so_and_new_images_are_told_of(table: Table, runs: Path) -> None:
    correct_fsn = np.random.default_rng(0).random((4, 4, 400)) < 0.8
    rows = {setting: [predicted(list(row)) for row in own] for setting, own in zip(LEADS, correct_fsn, strict=True)}
    lay_answers(runs, rows, config=declare(INTERACTION))
    a, b, c, d = (dict(enumerate(own)) for own in correct_fsn)
    expected = statistics.interaction_over_both((a, b, c, d))
    assert expected.p is not None
    said = table("--at", "last").verdict
    assert said.startswith(f"{BEGINS}last: can't tell; the lead of optimizer=adam over optimizer=sgd is ")
    assert f"(p = {expected.p:.2g})" in said.partition("; new images: [")[2]


def test_an_interaction_that_lacks_a_setting_says_which(table: Table, runs: Path) -> None:
    lay_declared(runs, dict(list(LEADS.items())[:3]), INTERACTION)
    assert "no run here has optimizer=sgd and loss=brier at once." in table("--at", "last").verdict


def test_losses_of_different_criteria_are_no_conditions_of_a_loss(table: Table, runs: Path) -> None:
    for setting in LEADS:
        for seed in range(3):
            words = INTERACTION.replace("top1", "loss")
            lay(runs, run(f"{setting} seed={seed}", score("loss", 0.5 + seed / 100), config=declare(words)))
    said = table("--at", "last", "--scores", "loss").verdict
    assert "their scores do not measure the same under both conditions." in said


def test_a_command_may_ask_for_contrasts_of_each_score_and_p_is_corrected_over_them(table: Table, runs: Path) -> None:
    losses = {"mse": "focal", "brier": "cross_entropy"}
    values = {words.replace(loss := words.partition("loss=")[2], losses[loss]): own for words, own in LEADS.items()}
    lay_declared(runs, values)
    words = "optimizer=adam vs optimizer=sgd under loss=focal vs loss=cross_entropy"
    said = table("--at", "last", "--scores", "top1,ece", "--contrast", words).verdict
    a, b, c, d = map(np.array, values.values())
    top1, ece = (ttest_1samp(sign * ((a - b) - (c - d)), 0).pvalue for sign in (1, -0.1))
    corrected = statistics.holm([top1, ece])
    told = re.findall(
        r"Contrast asked for: test (\w+) % at last: can't tell; the lead of optimizer=adam .*? p = ([\d.e-]+)\)", said
    )
    assert told == [("top1", f"{corrected[0]:.2g}"), ("ece", f"{corrected[1]:.2g}")]
    pair = table("--at", "last", "--contrast", "optimizer=adam loss=focal vs optimizer=sgd loss=cross_entropy").verdict
    assert "Contrast asked for: test top1 % at last: can't tell; loss=focal optimizer=adam leads" in pair


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("optimizer=adam", "--contrast must be KEY=VALUE vs KEY=VALUE [under KEY=VALUE vs KEY=VALUE], each time with"),
        ("top1: optimizer=adam vs optimizer=sgd", "--contrast must be KEY=VALUE vs KEY=VALUE [under"),
        (
            "optimizer=adam vs optimizer=muon",
            "--contrast 'optimizer=adam vs optimizer=muon' must be of settings of the table: no run here has"
            " optimizer=muon; there is adam, sgd",
        ),
    ],
)
def test_a_contrast_without_settings_is_refused(
    words: str, sentence: str, runs: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    lay_declared(runs, LEADS)
    code, out, err = command("table", str(runs), "--contrast", words)
    assert (code, out) == (2, "")
    assert err.startswith(f"imgrec: {sentence}"), err
    way_out = err.rpartition("such as ")[2].strip().strip("'")
    if way_out != err.strip():
        assert command("table", str(runs), "--contrast", way_out)[0] == 0

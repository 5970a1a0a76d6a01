"""Test differences to a baseline, and which setting leads as far as its seeds show."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, of_csv, run, score
from scipy.stats import pearsonr, ttest_ind, ttest_rel

from imgrec import statistics

Said = tuple[int, str, str]
Table = Callable[..., Shown]
Values = Sequence[float | str | None]
BASELINE = ("--baseline", "optimizer=sgd")


def percent(values: Values) -> dict[int, float]:
    """The scores by seed, as they are shown."""
    return {seed: 100 * value for seed, value in enumerate(values) if isinstance(value, float)}


def marked(shown: Shown) -> list[str]:
    """The settings that stand out, by their first factor."""
    return [row[shown.header[0]] for row in shown.rows if any(cell.startswith("**") for cell in row.values())]


def test_differences_are_by_seed(table: Table, runs: Path) -> None:
    """The differences are 1, 3 and 2 points: 2 ± 1, with t = 2 sqrt(3). The unpaired spreads would show nothing."""
    lay_sweep(runs, {"optimizer=sgd": [0.50, 0.60, 0.70], "optimizer=adam": [0.51, 0.63, 0.72]})
    shown = table(*BASELINE)
    assert shown.row("adam")["Δ test top1 %"] == "+2.00 [-0.48, +4.48]"
    assert shown.row("adam")["p"] == f"{ttest_rel([51, 63, 72], [50, 60, 70]).pvalue:.3f}" == "0.074"
    assert (shown.row("sgd")["Δ test top1 %"], shown.row("sgd")["p"]) == ("baseline", "–")
    assert shown.note("Δ: ") == (
        "Δ: the difference of means to optimizer=sgd, with its 95 % interval (not corrected). Paired by seed where both"
        " have the same seeds (t test; correlation over seeds 1.00)."
    )
    assert "p: two-sided; Holm-corrected over 1 comparison a column." in shown.notes


@pytest.mark.parametrize(
    ("sgd", "adam"),
    [([0.5, 0.6, None, 0.9], [0.51, 0.63, 0.72, "failed"]), ([0.5, 0.6], [None, None, 0.7, 0.8])],
    ids=["two seeds shared", "none shared"],
)
def test_where_seeds_differ_all_runs_count_by_welch_s_test(
    table: Table, command: Callable[..., Said], runs: Path, sgd: Values, adam: Values
) -> None:
    """A difference of two shared seeds must not stand beside means of more seeds."""
    lay_sweep(runs, {"optimizer=sgd": sgd, "optimizer=adam": adam})
    shown = table(*BASELINE)
    ours, theirs = (list(percent(values).values()) for values in (adam, sgd))
    welch = ttest_ind(ours, theirs, equal_var=False)
    low, high = welch.confidence_interval(0.95)
    difference = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    assert shown.row("adam")["Δ test top1 %"] == f"{difference:+.2f} [{low:+.2f}, {min(high, 100):+.2f}]"
    assert shown.row("adam")["p"] == f"{welch.pvalue:.3f}"
    assert shown.note("Δ: ").endswith("Of all runs, as seeds differ (Welch's t test).")
    told = {row["optimizer"]: row for row in of_csv(command("table", str(runs), "--format", "csv", *BASELINE)[1])}
    shared = percent(sgd).keys() & percent(adam).keys()
    assert told["adam"]["test top1 % test"] == "Welch"
    assert told["adam"]["test top1 % pairs"] == str(len(shared))
    assert float(told["adam"]["test top1 % p Welch"]) == pytest.approx(welch.pvalue, rel=1e-2)


def test_both_tests_and_the_correlation_over_seeds_are_in_the_csv(command: Callable[..., Said], runs: Path) -> None:
    sgd, adam = [50.0, 60.0, 65.0, 52.0], [52.0, 61.0, 69.0, 51.0]
    values = {f"optimizer={name}": [top / 100 for top in tops] for name, tops in (("sgd", sgd), ("adam", adam))}
    lay_sweep(runs, values)
    told = {row["optimizer"]: row for row in of_csv(command("table", str(runs), "--format", "csv", *BASELINE)[1])}
    assert told["adam"]["test top1 % test"] == "paired"
    assert float(told["adam"]["test top1 % p paired"]) == pytest.approx(ttest_rel(adam, sgd).pvalue, rel=5e-3)
    welch = ttest_ind(adam, sgd, equal_var=False).pvalue
    assert float(told["adam"]["test top1 % p Welch"]) == pytest.approx(welch, rel=5e-3)
    assert float(told["adam"]["test top1 % correlation"]) == pytest.approx(pearsonr(adam, sgd).statistic, abs=5e-3)


def test_one_pair_has_a_difference_without_interval_and_p(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5], "optimizer=adam": [0.52, 0.9], "optimizer=adamw": [0.51]})
    shown = table(*BASELINE)
    assert (shown.row("adam")["Δ test top1 %"], shown.row("adam")["p"]) == ("+21.00", "–"), "of one run nothing more"
    assert (shown.row("adamw")["Δ test top1 %"], shown.row("adamw")["p"]) == ("+1.00", "–")


def test_within_the_other_factor_each_has_its_own_baseline(table: Table, runs: Path) -> None:
    values = {
        "augment=flip optimizer=sgd": [0.50, 0.60],
        "augment=flip optimizer=adam": [0.53, 0.65],
        "augment=none optimizer=sgd": [0.20, 0.30],
        "augment=none optimizer=adam": [0.19, 0.28],
        "augment=cutout optimizer=adam": [0.70, 0.80],
    }
    lay_sweep(runs, values)
    shown = table(*BASELINE)
    changes = {(row["augment"], row["optimizer"]): row["Δ test top1 %"].split(" ")[0] for row in shown.rows}
    assert changes == {
        ("flip", "sgd"): "baseline",
        ("flip", "adam"): "+4.00",
        ("none", "sgd"): "baseline",
        ("none", "adam"): "-1.50",
        ("cutout", "adam"): "–",
    }
    both = table(*BASELINE, "--baseline", "augment=none")
    changes = {(row["augment"], row["optimizer"]): row["Δ test top1 %"].split(" ")[0] for row in both.rows}
    assert changes == {
        ("flip", "sgd"): "+30.00",
        ("flip", "adam"): "+34.00",
        ("none", "sgd"): "baseline",
        ("none", "adam"): "-1.50",
        ("cutout", "adam"): "+50.00",
    }


def test_p_values_are_corrected_for_being_several(table: Table, runs: Path) -> None:
    values: Mapping[str, Values] = {
        "sgd": [0.50, 0.52, 0.51, 0.55],
        "adam": [0.53, 0.54, 0.52, 0.58],
        "adamw": [0.51, 0.525, 0.52, 0.56],
        "rmsprop": [0.60, 0.58, 0.61, 0.645],
        "adagrad": [0.51, 0.53, 0.52, 0.56],  # always one point more: no p, and none of the comparisons counted
    }
    lay_sweep(runs, {f"optimizer={name}": tops for name, tops in values.items()})
    shown = table(*BASELINE)
    names = ["adam", "adamw", "rmsprop"]
    raw = [ttest_rel(values[name], values["sgd"]).pvalue for name in names]
    expected = [f"{p:.3f}" for p in statistics.holm(raw) if p is not None]
    assert [shown.row(name)["p"] for name in names] == expected
    assert expected != [f"{p:.3f}" for p in raw], "or nothing is seen of the correction"
    assert shown.row("adagrad")["p"] == "–"
    assert "p: two-sided; Holm-corrected over 3 comparisons a column." in shown.notes


def test_holm_counts_what_each_column_holds(table: Table, runs: Path) -> None:
    """The calibration of mse is not compared, so that its column has fewer comparisons."""
    rows = {
        "loss=brier": [(0.50, 0.10), (0.52, 0.12), (0.53, 0.11)],
        "loss=focal": [(0.55, 0.20), (0.56, 0.25), (0.58, 0.24)],
        "loss=mse": [(0.51, 0.30), (0.54, 0.31), (0.54, 0.35)],
    }
    lay_sweep(runs, {words: [{"top1": top1, "ece": ece} for top1, ece in row] for words, row in rows.items()})
    shown = table("--scores", "top1,ece", "--baseline", "loss=brier")
    assert "p: two-sided; Holm-corrected over 2 of test top1 %, 1 of test ece %." in shown.notes


def test_a_p_below_a_thousandth_says_no_more(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6, 0.7], "optimizer=adam": [0.7, 0.801, 0.9]})
    assert table(*BASELINE).row("adam")["p"] == "< 0.001"


def test_each_score_has_its_own_differences(table: Table, runs: Path) -> None:
    sgd = [{"top1": 0.5, "loss": 1.5}, {"top1": 0.6, "loss": 1.25}]
    adam = [{"top1": 0.52, "loss": 1.0}, {"top1": 0.63, "loss": 1.5}]
    lay_sweep(runs, {"optimizer=sgd": sgd, "optimizer=adam": adam})
    shown = table(*BASELINE, "--scores", "top1,loss")
    assert shown.row("adam")["Δ test top1 %"].startswith("+2.50 [")
    assert shown.row("adam")["Δ test loss"].startswith("-0.1250 [")


@pytest.mark.parametrize(("metric", "best"), [("top1", "adam"), ("iou", "adam"), ("loss", "sgd"), ("ece", "sgd")])
def test_a_clear_lead_is_marked_whichever_way_is_better(table: Table, runs: Path, metric: str, best: str) -> None:
    rows = {"optimizer=sgd": [0.50, 0.51, 0.52], "optimizer=adam": [0.80, 0.81, 0.825]}
    lay_sweep(runs, {words: [{metric: value} for value in values] for words, values in rows.items()})
    shown = table("--scores", metric)
    assert marked(shown) == [best]
    assert "no best is marked" not in "".join(shown.notes)


def test_each_score_has_its_own_best(table: Table, runs: Path) -> None:
    sgd = [{"top1": 0.50, "ece": 0.1}, {"top1": 0.51, "ece": 0.11}]
    adam = [{"top1": 0.80, "ece": 0.4}, {"top1": 0.811, "ece": 0.412}]
    lay_sweep(runs, {"optimizer=sgd": sgd, "optimizer=adam": adam})
    shown = table("--scores", "top1,ece")
    assert (shown.row("adam")["test top1 %"][:2], shown.row("adam")["test ece %"][:2]) == ("**", "40")
    assert (shown.row("sgd")["test top1 %"][:2], shown.row("sgd")["test ece %"][:2]) == ("50", "**")


@pytest.mark.parametrize(
    ("values", "is_paired"),
    [
        ({"sgd": [0.50, 0.55, 0.52, 0.51], "adam": [0.51, 0.57, 0.52, 0.54]}, True),
        ({"sgd": [0.50, 0.55, 0.52], "adam": [None, None, None, 0.52, 0.58, 0.55]}, False),
        ({"sgd": [0.500, 0.501, 0.499], "adam": [0.53, 0.50, 0.51]}, True),
        ({"sgd": [0.50, 0.55], "adam": [None, 0.60]}, False),
        ({"sgd": [0.50, 0.52, 0.51, None], "adam": [0.49, 0.51, 0.505, 0.9]}, False),
    ],
    ids=["pairs", "unpaired", "noisy leader", "one run leads", "one lucky seed"],
)
def test_a_lead_that_the_seeds_cannot_show_is_not_marked_and_the_notes_say_how_many_would_do(
    table: Table, runs: Path, values: dict[str, Values], is_paired: bool
) -> None:
    lay_sweep(runs, {f"optimizer={name}": rows for name, rows in values.items()})
    shown = table()
    assert marked(shown) == []
    said = shown.note("test top1 %: no best is marked.")
    found = re.findall(
        r"leads optimizer=sgd.* by ([\d.]+); (.*); if .*, about (\d+) seeds would do \((\d+) to (over )?(\d+), as far",
        said,
    )
    lead, limit, count, low, beyond, high = found[0]
    adam, sgd = percent(values["adam"]), percent(values["sgd"])
    difference = sum(adam.values()) / len(adam) - sum(sgd.values()) / len(sgd)
    seen = statistics.compare(adam, sgd)
    assert seen is not None
    assert seen.is_paired is is_paired
    assert float(lead) == pytest.approx(difference, rel=5e-3)
    assert int(count) == seen.seeds_for(difference)
    assert (int(low), None if beyond else int(high)) == seen.seeds_range(difference)
    n = min(len(adam), len(sgd))
    least, p = seen.detectable(n), seen.p_of_detectable(n)
    basis = f"standard deviation of {'the differences by seed' if is_paired else 'either'} {seen.std:.3g}"
    assert limit == (
        f"{n} seeds find a true difference with a chance of 80 % only from {least:.3g} ({basis}; to be marked it would"
        f" take p < {p:.2g})"
        if least
        else f"one seed cannot show it ({basis})"
    )
    assert int(count) > n


def test_with_the_seeds_that_would_do_a_lead_of_that_size_is_marked(table: Table, runs: Path) -> None:
    """Two seeds with differences of 2 and 4 points require seven seeds. With seven such seeds, the lead is marked."""
    sgd = [0.50, 0.52, 0.54, 0.51, 0.53, 0.55, 0.56]
    adam = [0.52, 0.56, 0.56, 0.55, 0.55, 0.59, 0.59]
    lay_sweep(runs, {"optimizer=sgd": sgd[:2], "optimizer=adam": adam[:2]})
    (count,) = re.findall(r"(\d+) seeds would do", table().note("test top1 %: no best is marked."))
    assert int(count) <= len(sgd)
    lay_sweep(runs, {"optimizer=sgd": sgd, "optimizer=adam": adam})
    assert marked(table()) == ["adam"]


def test_a_best_must_lead_over_every_other_setting(table: Table, runs: Path) -> None:
    values = {"sgd": [0.5, 0.51], "momentum": [0.799, 0.815], "adam": [0.80, 0.81], "adamw": [0.798, 0.814]}
    lay_sweep(runs, {f"optimizer={name}": rows for name, rows in values.items()})
    shown = table("--rows", "optimizer,optimizer.weight_decay")
    assert marked(shown) == []
    said = shown.note("test top1 %: no best is marked.")
    assert "optimizer=momentum" in said
    assert "optimizer=sgd" not in said, "over which the lead is clear"
    assert said.endswith("The same holds of its lead over 1 more.")


def test_a_tie_has_no_best(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.625], "optimizer=adam": [0.625, 0.5]})
    shown = table()
    assert marked(shown) == []
    said = shown.note("test top1 %: no best is marked.")
    assert re.search(r"optimizer=(\w+) and optimizer=(\w+) have the same mean", said)


def test_one_seed_each_has_no_best(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5], "optimizer=adam": [0.9]})
    shown = table()
    assert marked(shown) == []
    assert {(row["n"], row["test top1 %"], row["95 %"]) for row in shown.rows} == {
        ("1", "50.00", "–"),
        ("1", "90.00", "–"),
    }
    assert shown.note("Mean ± ").endswith("No setting has an interval.")
    assert shown.note("test top1 %: no best is marked.").endswith(
        "optimizer=adam leads optimizer=sgd by 40, and their runs tell nothing of the spread."
    )


def test_a_setting_by_itself_is_no_best(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.51], "optimizer=adam": ["failed", "failed"]})
    assert marked(table()) == []


def test_a_constant_lead_is_measured_against_the_spread_of_seeds(table: Table, runs: Path) -> None:
    """With each seed 8 more of 10 000 images are right. Rounding of floats is no spread from which a best follows."""
    tops = [0.8045, 0.6562, 0.6499]
    lay_sweep(runs, {"optimizer=sgd": tops, "optimizer=adam": [top + 0.0008 for top in tops]})
    shown = table(*BASELINE)
    assert shown.row("adam")["p"] == "–"
    assert marked(shown) == []
    assert "standard deviation of either 8.75" in shown.note("test top1 %: no best is marked.")


def test_a_lead_that_is_significant_and_too_small_to_mark_is_told_as_such(table: Table, runs: Path) -> None:
    """Differences of 1, 3, 2, 1 and 0.5 points: p is below 0.05, but not below the 0.02 that five seeds require."""
    sgd, adam = [0.50, 0.52, 0.54, 0.51, 0.53], [0.51, 0.55, 0.56, 0.52, 0.535]
    assert 0.02 < ttest_rel(adam, sgd).pvalue < 0.05
    lay_sweep(runs, {"optimizer=sgd": sgd, "optimizer=adam": adam})
    shown = table()
    assert marked(shown) == []
    assert "can't tell" not in shown.verdict
    assert re.fullmatch(
        r"test top1 %: optimizer=adam leads optimizer=sgd by 1\.50 points \[0\.\d\d, \d\.\d\d\] \(5 seeds each, these"
        r" images\), too little for a leader that was picked after looking; if lead and deviation are as seen, about"
        r" \d+ seeds would do \(\d+ to \d+, as far as the deviation is known\)\.",
        shown.verdict,
    )


def test_the_rounding_of_records_is_no_spread(table: Table, runs: Path) -> None:
    """Both seeds differ by six of 360 images, which records with 7 decimals tell as 0.0166666 and 0.0166667."""
    for words, counts in (("optimizer=sgd", (73, 65)), ("optimizer=adam", (79, 71))):
        for seed, count in enumerate(counts):
            top1 = dataclasses.replace(score("top1", round(count / 360, 7)), n=360)
            lay(runs, run(f"{words} seed={seed}", top1))
    shown = table(*BASELINE, "--at", "last")
    assert (shown.row("adam")["Δ test top1 %"], shown.row("adam")["p"]) == ("+1.67", "–")
    assert marked(shown) == []

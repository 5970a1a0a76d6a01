"""Test that the claims of experiments/ follow from the records in the same folders."""

import importlib
import json
import re
import runpy
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec import assembly, predictions, records
from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.records import Record

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
ARTICLE = EXPERIMENTS / "article"


def runs(experiment: str, folder: str = "records") -> list[Record]:
    found = [records.read(path) for path in sorted((ARTICLE / folder).glob("*.json"))]
    return [record for record in found if record.experiment == experiment]


def test_every_record_is_finished_and_of_committed_code() -> None:
    paths = sorted(EXPERIMENTS.glob("*/*/*.json"))
    assert paths
    for path in paths:
        record = records.read(path)
        assert record.status == "finished", path
        assert record.environment["dirty"] is False, path
        assert record.config.get("data.root", "data") == "data", f"{path} names a place on one machine"
        assert path.stem.endswith(record.run_id[:8]), path


@pytest.mark.parametrize("experiment", ["article", "cnn_strong"])
@pytest.mark.parametrize("at", ["best", "last"])
@pytest.mark.parametrize("metric", ["top1", "iou", "ece"])
def test_the_table_states_mean_and_deviation_over_the_seeds(experiment: str, at: str, metric: str) -> None:
    found = runs(experiment)
    count = len(found)
    assert count >= 3
    assert sorted(record.config["seed"] for record in found) == list(range(count))
    assert f"(n = {count})" in (ARTICLE / "README.md").read_text()
    scores = [record.score(metric, split="test", at=at) for record in found]
    values = [100 * score.value for score in scores if score is not None and score.n == 10_000]
    assert len(values) == count
    stated = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
    rows = [
        line
        for line in (ARTICLE / "README.md").read_text().splitlines()
        if line.startswith(f"| `{experiment}` | {at} ")
    ]
    assert len(rows) == 1
    assert stated in rows[0]


def test_how_far_the_article_s_last_epoch_lies_below_its_best_is_in_the_records() -> None:
    gaps = []
    for record in runs("article"):
        best, last = (record.score("top1", split="val", at=at) for at in ("best", "last"))
        assert best is not None
        assert last is not None
        gaps.append(100 * (best.value - last.value))
    first, second = sorted((gap for gap in gaps if gap > 0), reverse=True)
    assert len(gaps) == 5
    text = (ARTICLE / "README.md").read_text()
    assert f"in two of its five runs the last epoch's validation top1 is below the best epoch's, by {first:.2f}" in text
    assert f" and {second:.2f}\npoints" in text


def test_the_validation_search_kept_the_test_set_closed_and_states_its_scores() -> None:
    found = runs("cnn_strong", "search")
    assert found
    text = (ARTICLE / "README.md").read_text()
    for record in found:
        assert {score.split for score in record.scores} == {"val"}
        score = record.score("top1", split="val", at="last")
        assert score is not None
        assert f"{100 * score.value:.2f}" in text


def test_the_evidence_is_what_the_table_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ARTICLE / "evidence.py"), run_name="__main__")
    said = capsys.readouterr().out
    for phrase in (
        "maps (64, 128, 4, 4), viewed as (16, 8192)",
        "module 'torch' has no attribute 'out'",
        "'Tensor' object has no attribute 'new_keys'",
        "Boolean value of Tensor with more than one value is ambiguous",
        "module 'torchvision.datasets' has no attribute 'cifar10'",
        "0.0029",
        "0.1 by the article's definitions, 1.0 by TP / (TP + FP + FN)",
        "IMAGENET1K_V1 top-1 76.13 %",
    ):
        assert phrase in said
        assert phrase in (ARTICLE / "README.md").read_text().replace("\n", " ")


def test_speed94_reaches_its_mark_over_its_seeds_with_the_recipe_as_it_is() -> None:
    paths = sorted((EXPERIMENTS / "speed" / "records").glob("speed94_*.json"))
    found = [records.read(path) for path in paths]
    assert sorted(record.config["seed"] for record in found) == list(range(len(found)))
    assert len(found) >= 5
    for record in found:
        today = compose(["experiment=speed94", f"seed={record.config['seed']}"])
        assert record.run_id == run_id(today, record.fingerprint), "the records are of another recipe"
    scores = [record.score("top1", split="test", at="last", protocol="tta_flip_shift") for record in found]
    values = [100 * score.value for score in scores if score is not None and score.n == 10_000]
    assert len(values) == len(found)
    assert statistics.mean(values) >= 94.0
    text = (EXPERIMENTS / "speed" / "README.md").read_text()
    assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} (n = {len(values)})" in text
    assert ", ".join(f"{value:.2f}" for value in values) in text


@pytest.mark.parametrize("commit", ["2ffbc28", "a6d3254"])
def test_the_shares_of_time_are_those_that_were_measured(commit: str) -> None:
    measured = json.loads((EXPERIMENTS / "speed" / f"to94-{commit}.json").read_text())
    assert f"commit {commit}" in measured["about"]
    figures = {row["name"]: row["values"] for row in measured["figures"]["to94"]}
    text = (EXPERIMENTS / "speed" / "README.md").read_text()
    for name in ("seconds, imgrec / published", "seconds, imgrec / published with memory kept"):
        values = figures[name]
        assert len(values) == measured["rounds"]
        assert f"| {statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]: " in text


@pytest.mark.parametrize(("experiment", "work"), [("speed95", "0.852"), ("speed96", "3.02")])
def test_what_is_told_of_a_wider_network_is_in_its_record_and_the_recipe_is_as_it_was(
    experiment: str, work: str
) -> None:
    (path,) = (EXPERIMENTS / "speed" / "records").glob(f"{experiment}_*.json")
    record = records.read(path)
    today = compose([f"experiment={experiment}", f"seed={record.config['seed']}"])
    assert record.run_id == run_id(today, record.fingerprint), "the record is of another recipe"
    score = record.score("top1", split="test", at="last", protocol="tta_flip_shift")
    assert score is not None
    assert score.ci is not None
    top1, low, high = (f"{100 * value:.2f}" for value in (score.value, *score.ci))
    row = f"| `{experiment}` | {today.trainer.max_epochs} | {work} | {top1} [{low}, {high}]"
    assert row in (EXPERIMENTS / "speed" / "README.md").read_text()


def test_the_framework_and_the_bare_loop_of_the_benchmark_train(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXPERIMENTS / "speed")
    overhead = importlib.import_module("overhead")
    config = compose([*tiny, "trainer.max_epochs=1"])
    setting = overhead.Setting(config=config, data_root=Path(config.data.root), source=assembly.source(config))
    assert overhead.imgrec_rate(setting) > 0
    assert overhead.bare_rate(setting) > 0


@pytest.mark.parametrize(
    "words", [["--scores", "top1,ece", "--baseline", "optimizer=adam"], ["--rows", "optimizer", "--columns", "loss"]]
)
def test_the_tables_of_the_report_are_those_of_its_records(
    words: list[str], command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = command("table", str(EXPERIMENTS / "report" / "records"), *words)
    assert (code, err) == (0, "")
    assert out in (EXPERIMENTS / "report" / "README.md").read_text()


def test_what_is_told_of_resnet50_is_in_its_records_and_the_recipe_is_as_it_was() -> None:
    paths = sorted((EXPERIMENTS / "resnet50" / "records").glob("*.json"))
    text = (EXPERIMENTS / "resnet50" / "README.md").read_text()
    assert len(paths) == 2
    for record in map(records.read, paths):
        for protocol in ("clean", "tta_flip"):
            score = record.score("top1", split="test", at="last", protocol=protocol)
            assert score is not None
            assert score.ci is not None
            low, high = score.ci
            assert f"{100 * score.value:.2f} [{100 * low:.2f}, {100 * high:.2f}]" in text
        assert record.weights["last"] in text
    (newest,) = [record for path in paths if (record := records.read(path)).config["trainer.max_epochs"] == 8]
    today = compose(["experiment=resnet50", f"seed={newest.config['seed']}"])
    assert newest.run_id == run_id(today, newest.fingerprint), "the record is of another recipe"


def test_the_page_on_seeds_states_what_its_records_and_predictions_say() -> None:
    found = [records.read(path) for path in sorted((EXPERIMENTS / "seeds/records").glob("*.json"))]
    page = (EXPERIMENTS / "seeds/README.md").read_text()
    assert len(found) == 60
    for epochs in (3, 10):
        own = [record for record in found if record.config["trainer.max_epochs"] == epochs]
        tops = [100 * score.value for record in own if (score := record.score("top1", split="test", at="last"))]
        (row,) = re.findall(rf"^\| {epochs} \| {len(own)} \| {len(own)}/30.*\|$", page, re.MULTILINE)
        assert f"{statistics.mean(tops):.2f} ± {statistics.stdev(tops):.2f}" in row
    assert runpy.run_path(str(EXPERIMENTS / "seeds/analysis.py"))["main"](EXPERIMENTS / "seeds") in page
    packed = predictions.read(EXPERIMENTS / "seeds" / predictions.NAME)
    for record in found:
        kept = packed[record.run_id]["test", "clean", "last"]
        assert kept.digest() == record.predictions["test/clean/last"]


def test_the_page_on_splits_states_what_its_records_say() -> None:
    page = (EXPERIMENTS / "splits/README.md").read_text()
    assert runpy.run_path(str(EXPERIMENTS / "splits/analysis.py"))["main"](EXPERIMENTS / "splits") in page


LONGTAIL = ("--scores", "macro_f1", "--columns", "loss.class_weights")


@pytest.mark.parametrize(
    ("study", "words"),
    [
        ("digits", ["--baseline", "optimizer=adam"]),
        ("digits", ["--rows", "optimizer", "--columns", "loss"]),
        ("optimizers", ["--baseline", "optimizer=momentum"]),
        ("losses", ["--baseline", "loss=cross_entropy"]),
        ("longtail", [*LONGTAIL, "--where", "trainer.max_epochs=4"]),
        ("longtail", [*LONGTAIL, "--where", "trainer.max_epochs=15"]),
    ],
    ids=["digits in rows", "digits in columns", "optimizers", "losses", "longtail, short", "longtail, long"],
)
def test_the_tables_of_a_page_are_those_of_its_records(
    study: str, words: list[str], command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = command("table", str(EXPERIMENTS / study), "--at", "last", *words)
    assert (code, err) == (0, "")
    assert out in (EXPERIMENTS / study / "README.md").read_text()


def test_the_page_on_losses_states_the_calibration_of_its_records() -> None:
    found = [records.read(path) for path in sorted((EXPERIMENTS / "losses/records").glob("*.json"))]
    page = (EXPERIMENTS / "losses/README.md").read_text()
    names = {
        "cross_entropy": "cross-entropy",
        "brier": "Brier score",
        "label_smoothing": "label smoothing 0.1",
        "focal": "focal loss, gamma 2",
    }
    for loss, words in names.items():
        own = [record for record in found if record.config["loss.name"] == loss and record.config["test"]]
        assert len(own) == 5
        stated = []
        for metric in ("ece", "ece_calibrated"):
            values = [100 * score.value for each in own if (score := each.score(metric, split="test", at="last"))]
            stated.append(f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}")
        assert f"| {words} | {stated[0]} | {stated[1]} |" in page


def test_the_first_page_answers_as_the_records_of_its_study_do(command: Callable[..., tuple[int, str, str]]) -> None:
    page = (EXPERIMENTS.parent / "README.md").read_text()
    asked = "imgrec table experiments/optimizers --at last --rows optimizer --columns loss"
    assert f"`{asked}`" in page
    words = asked.replace("experiments", str(EXPERIMENTS)).split()[1:]
    _, out, _ = command(*words)
    (verdict,) = re.findall(r"^> (.+)$", page, re.MULTILINE)
    assert out.startswith(f"{verdict}\n"), "the whole sentence"
    _, table, *_ = out.split("\n\n")
    assert table.startswith("| optimizer |")
    assert f"\n\n{table}\n\n" in page


def test_the_recipes_of_the_first_page_have_the_scores_of_their_records() -> None:
    page = (EXPERIMENTS.parent / "README.md").read_text()
    for folder, recipe, protocol in (
        ("article", "article", "clean"),
        ("article", "cnn_strong", "clean"),
        ("speed", "speed94", "tta_flip_shift"),
    ):
        found = [records.read(path) for path in (EXPERIMENTS / folder / "records").glob(f"{recipe}_*.json")]
        said = {}
        for at in ("last", "best"):
            scores = [record.score("top1", split="test", at=at, protocol=protocol) for record in found]
            values = [100 * score.value for score in scores if score is not None]
            if values:
                assert len(values) == 5
                said[at] = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        (row,) = re.findall(rf"^\| `{recipe}`: .+$", page, re.MULTILINE)
        assert f" | {said['last']}" in row
        if "best epoch" in row:
            assert f" (best epoch: {said['best']}) |" in row
    assert page.count("(best epoch: ") == 1

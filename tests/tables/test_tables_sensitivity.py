"""Test what a tuned sweep tried, below the table, in its warnings and in a chart of the report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec import tuning_file
from imgrec.tuning_file import Tuned

Said = tuple[int, str, str]


def words(optimizer: str, *more: str) -> tuple[str, ...]:
    return ("data=digits", f"optimizer={optimizer}", *more)


@pytest.fixture
def sweep(one_run: Path, workplace: Path) -> Path:
    """Two choices' final runs, and what they tried: sgd is best at an end, adam inside, a try of adam failed."""
    record = json.loads((one_run / "record.json").read_text())
    for optimizer in ("sgd", "adam"):
        folder = workplace / "sweep" / optimizer
        folder.mkdir(parents=True)
        own = record | {"run_id": optimizer, "command": list(words(optimizer, "optimizer.lr_scale=1", "seed=0"))}
        own["config"] = record["config"] | {"optimizer.name": optimizer}
        (folder / "record.json").write_text(json.dumps(own))
    tried = {
        "sgd": {"0.1": 0.2, "1": 0.3, "10": 0.4},
        "adam": {"0.1": 0.5, "1": 0.75, "10": None},
    }
    rows = [
        Tuned(
            choice=words(name),
            chosen=(f"optimizer.lr_scale={chosen}",),
            seeds=(100,),
            tried={(f"optimizer.lr_scale={value}",): score for value, score in tried[name].items()},
        )
        for name, chosen in (("sgd", "10"), ("adam", "1"))
    ]
    tuning_file.write(workplace / "sweep" / tuning_file.NAME, rows)
    return workplace / "sweep"


@pytest.mark.long
def test_what_is_written_is_read_again(sweep: Path) -> None:
    sgd, adam = tuning_file.read(sweep / tuning_file.NAME)
    assert sgd.at_an_end == ("optimizer.lr_scale=10",)
    assert adam.at_an_end == ()
    assert adam.tried["optimizer.lr_scale=10",] is None
    assert tuning_file.read(sweep / "nothing.json") == []


def test_the_table_shows_the_values_and_who_is_best_at_an_end(command: Callable[..., Said], sweep: Path) -> None:
    code, out, err = command("table", str(sweep))
    assert code == 0, err
    assert "Tuning: validation top1 % by optimizer.lr_scale, seed 100 (chosen: bold)" in out
    assert "| optimizer | 0.1 | 1 | 10 |\n" in out
    assert "| sgd | 20.00 | 30.00 | **40.00** |\n" in out
    assert "| adam | 50.00 | **75.00** | failed |\n" in out
    end = "tuning: optimizer=sgd is best with optimizer.lr_scale=10, at an end of the values that it tried"
    assert f"- warning: {end}; a better one may lie beyond\n" in out
    assert "optimizer=adam is best" not in out
    code, out, err = command("table", str(sweep), "--where", "optimizer=adam")
    assert "sgd" not in out
    assert "| adam | 50.00 | **75.00** | failed |\n" in out
    code, out, err = command("table", str(sweep), "--format", "csv")
    assert end in err


def test_the_records_of_a_study_have_their_tuning_beside_their_folder(
    command: Callable[..., Said], sweep: Path
) -> None:
    (sweep.parent / "study/records").mkdir(parents=True)
    (sweep / tuning_file.NAME).rename(sweep.parent / "study" / tuning_file.NAME)
    (sweep / "sgd/record.json").rename(sweep.parent / "study/records/one.json")
    _, out, _ = command("table", str(sweep.parent / "study/records"))
    assert "| sgd | 20.00 | 30.00 | **40.00** |\n" in out


def test_a_damaged_file_is_told_of_and_costs_its_part_alone(command: Callable[..., Said], sweep: Path) -> None:
    (sweep / tuning_file.NAME).write_text('[{"choice": ["a=1"]}]')
    code, out, err = command("table", str(sweep))
    assert code == 1
    assert "| optimizer | n" in out
    assert "tuning.json must be what imgrec tuned, got no 'tried'" in err


@pytest.mark.long
def test_the_report_draws_them(command: Callable[..., Said], sweep: Path) -> None:
    code, _, err = command("report", str(sweep), "-o", "page.html")
    assert code == 0, err
    page = Path("page.html").read_text()
    assert "A diamond is what the choice was then run with. 1 of 6 tries failed and are not drawn." in page
    assert '"tuning-0"' in page

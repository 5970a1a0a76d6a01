"""Tables of runs whose configurations list protocols and callbacks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import Shown, lay, run, score

Table = Callable[..., Shown]
WATCHED = "callbacks=[gradient_norm]"


def test_a_callback_that_only_observes_makes_no_other_setting_and_no_other_training(table: Table, runs: Path) -> None:
    for seed, top1 in enumerate((0.5, 0.6)):
        lay(runs, run(f"optimizer=sgd seed={seed}", score("top1", top1, split="val"), score("top1", top1)))
        lay(runs, run(f"optimizer=sgd seed={seed} test=false {WATCHED}", score("top1", top1, split="val")), f"w{seed}")
    (row,) = table("--split", "val").rows
    assert (row["setting"], row["n"]) == ("all runs", "2")


def test_a_callback_that_changes_results_is_one_factor_with_its_settings(table: Table, runs: Path) -> None:
    origin = {"file": "mine.py", "sha256": "0" * 64, "tree": "", "outside_identity": [], "observes": False}
    kept = {"callback=mine": {**origin, "defaults": {"x": 1.0}}}
    for seed, top1 in enumerate((0.5, 0.6)):
        plain = run(f"optimizer=sgd seed={seed}", score("top1", top1))
        lay(runs, plain)
        config = {**plain.config, "callbacks": ["mine"], "callback.mine.x": 2.0}
        own = replace(plain, config=config, components=kept, run_id=f"{seed:064}")
        lay(runs, own, f"mine{seed}")
    shown = table()
    assert [row["callbacks"] for row in shown.rows] == ["[]", "[mine]"]
    assert "callback.mine.x" not in shown.rows[0]


def test_scores_of_one_protocol_under_several_settings_are_told(table: Table, runs: Path) -> None:
    for seed, deviation in enumerate((1, 2)):
        noisy = replace(score("top1", 0.5, protocol="noise"), settings={"precision": "32", "seed": deviation})
        lay(runs, run(f"optimizer=sgd seed={seed}", noisy))
    assert "test top1 %, noise was measured with several settings: precision=32 seed=1; precision=32 seed=2" in (
        table().note("warning: ")
    )


@pytest.mark.parametrize("value", [5, None, [{"a": 1}], "gradient_norm"], ids=repr)
def test_a_record_with_a_bad_list_of_callbacks_is_named_and_hides_no_other(
    command: Callable[..., Any], runs: Path, value: Any
) -> None:
    good = run("optimizer=sgd", score("top1", 0.5))
    lay(runs, good)
    bad = replace(good, run_id="1" * 64, config={**good.config, "callbacks": value})
    lay(runs, bad, "bad")
    code, out, err = command("table", str(runs))
    assert code == 1
    assert "50.00" in out
    assert "outputs/bad/record.json must be a record that imgrec wrote" in err

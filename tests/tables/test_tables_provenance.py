"""Test what runs were made with, and whether they may be in one table."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import ENVIRONMENT, Shown, lay, lay_sweep, measure, run, score

from imgrec import text_files

Said = tuple[int, str, str]
Table = Callable[..., Shown]
COMMIT = str(ENVIRONMENT["commit"])


def warnings(shown: Shown) -> list[str]:
    return [note.removeprefix("warning: ") for note in shown.notes if note.startswith("warning: ")]


def lay_two(runs: Path, **other: Any) -> None:
    """Two seeds, of which the second differs."""
    lay(runs, run("seed=0", score("top1", 0.5)))
    lay(runs, run("seed=1", score("top1", 0.6), **other))


def test_a_line_says_what_the_runs_were_made_with(table: Table, runs: Path) -> None:
    lay_two(runs)
    shown = table()
    assert shown.notes[-1] == (
        f"commit {COMMIT[:12]}, python 3.11.7, torch 2.9.0, torchvision 0.24.0, lightning 2.6.0, AMD EPYC, 2 cores."
    )
    assert warnings(shown) == []


@pytest.mark.parametrize(
    ("environment", "warning"),
    [
        ({"commit": "dead" * 10}, f"the runs were made at different commits: {COMMIT[:12]} / deaddeaddead"),
        ({"commit": None}, f"the runs were made at different commits: {COMMIT[:12]} / unknown"),
        ({"python": "3.12.1"}, "the runs were made with different python: 3.11.7 / 3.12.1"),
        ({"imgrec": "0.9"}, "the runs were made with different imgrec: 0.8 / 0.9"),
        ({"torch": "2.10.0"}, "the runs were made with different torch: 2.9.0 / 2.10.0"),
        ({"torchvision": "0.25.0"}, "the runs were made with different torchvision: 0.24.0 / 0.25.0"),
        ({"lightning": "2.7.0"}, "the runs were made with different lightning: 2.6.0 / 2.7.0"),
        ({"torchmetrics": "1.9.0"}, "the runs were made with different torchmetrics: 1.8.0 / 1.9.0"),
        ({"dirty": True}, "1 of 2 runs were made with uncommitted changes: their commit does not say it all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_is_mixed_in_runs_is_warned_about(
    table: Table, runs: Path, environment: dict[str, Any], warning: str
) -> None:
    lay_two(runs, environment=environment)
    assert warnings(table()) == [warning]


SAME = {"imgrec.losses": "a1 b1", "imgrec.optim.muon": "c1 d1"}


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ([SAME, {**SAME, "imgrec.losses": "a2 b1"}], []),  # a comment
        ([SAME, {**SAME, "imgrec.losses": "a2 b2"}], ["the runs were made by different code: imgrec.losses"]),
        ([SAME, {"imgrec.losses": "a1 b1"}], ["the runs were made by different code: imgrec.optim.muon"]),
        ([SAME, {}], ["1 of 2 runs say nothing of their code, so that it cannot be compared"]),
        ([{}, {}], []),
    ],
)
def test_runs_of_different_code_are_warned_about_by_module(
    table: Table, runs: Path, codes: list[dict[str, str]], told: list[str]
) -> None:
    for seed, code in enumerate(codes):
        lay(runs, run(f"seed={seed}", score("top1", 0.5), code=code))
    assert warnings(table()) == told


def test_a_run_that_went_on_with_other_code_is_warned_about(table: Table, runs: Path) -> None:
    for seed, since in enumerate([[], [{"imgrec.losses": "a2 b2"}]]):
        lay(runs, run(f"seed={seed}", score("top1", 0.5), code=SAME, code_since=since))
    assert warnings(table()) == [
        "the runs were made by different code: imgrec.losses",
        "1 of 2 runs went on with other code than they began with: imgrec.losses",
    ]


def test_commits_that_change_no_code_of_a_run_are_no_mixture(table: Table, runs: Path) -> None:
    lay(runs, run("seed=0", score("top1", 0.5), code=SAME))
    lay(runs, run("seed=1", score("top1", 0.6), code=SAME, environment={"commit": "dead" * 10}))
    shown = table()
    assert warnings(shown) == []
    assert shown.notes[-1].startswith(f"commit {COMMIT[:12]} / deaddeaddead, ")


def test_takes_of_different_code_are_told_apart(table: Table, runs: Path) -> None:
    for take, code in (("", SAME), ("_take-2", {**SAME, "imgrec.losses": "a2 b2"})):
        made = run("seed=0", score("top1", 0.5), code=code, weights={"last": f"weights{take}"})
        lay(runs, made, f"run{take}-{made.run_id[:8]}")
    (note,) = [note for note in table().notes if "with different weights" in note]
    assert "2 times with different weights (code: imgrec.losses) and counts once" in note


def test_different_images_under_one_name_are_a_row_each(table: Table, runs: Path) -> None:
    lay_two(runs, fingerprint="e" * 64)
    shown = table()
    assert [row["data.root"] for row in shown.rows] == ["digits@eeeeeeee", "digits@ffffffff"]
    assert warnings(shown) == []


def test_other_images_under_another_name_are_a_factor_and_no_mixture(table: Table, runs: Path) -> None:
    lay(runs, run("seed=0", score("top1", 0.5)))
    lay(runs, run("data=cifar10 seed=0", score("top1", 0.6), fingerprint="e" * 64))
    shown = table()
    assert [row["data"] for row in shown.rows] == ["cifar10", "digits"]
    assert warnings(shown) == []


def test_kernels_of_cpus_that_round_differently_are_warned_about(table: Table, runs: Path) -> None:
    made = run("seed=0", score("top1", 0.5))
    for seed, kernels in enumerate((None, "AVX2", "AVX512")):
        known = {} if kernels is None else {"cpu_kernels": kernels}  # older records do not tell
        lay(runs, run(f"seed={seed}", score("top1", 0.5), environment={**made.environment, **known}))
        shown = table()
        assert bool(warnings(shown)) is (kernels == "AVX512")
    assert warnings(shown) == [
        "CPUs trained the runs with different kernels of PyTorch, which round differently: AVX2 / AVX512"
    ]


def test_hardware_is_named_gpus_before_cpus(table: Table, runs: Path) -> None:
    lay_two(runs, environment={"gpu": ["NVIDIA H100", "NVIDIA H100"]})
    shown = table()
    (line,) = [note for note in shown.notes if note.startswith("commit ")]
    assert line.endswith("AMD EPYC, 2 cores / NVIDIA H100 + NVIDIA H100.")
    assert warnings(shown) == [
        "the runs were made on different hardware, so their seconds do not compare: AMD EPYC, 2 cores / NVIDIA H100 +"
        " NVIDIA H100"
    ]


def test_many_different_commits_are_counted(table: Table, runs: Path) -> None:
    for seed in range(6):
        lay(runs, run(f"seed={seed}", score("top1", 0.5), environment={"commit": f"{seed}" * 40}))
    (warning,) = warnings(table())
    first = " / ".join(f"{seed}" * 12 for seed in range(4))
    assert warning == f"the runs were made at different commits: {first} and 2 more"


def test_a_csv_has_its_warnings_beside_it(command: Callable[..., Said], runs: Path) -> None:
    lay_two(runs, environment={"dirty": True})
    code, out, err = command("table", str(runs), "--format", "csv")
    assert code == 0
    assert "warning" not in out
    assert "imgrec: warning: 1 of 2 runs were made with uncommitted changes" in err


def test_runs_that_are_left_out_are_not_warned_about(table: Table, runs: Path) -> None:
    lay_two(runs)
    lay(runs, run("seed=2 optimizer=sgd", score("top1", 0.5), environment={"dirty": True}))
    assert len(warnings(table())) == 1
    assert warnings(table("--where", "optimizer=adam")) == []


@pytest.mark.long
def test_a_table_imports_no_torch(workplace: Path) -> None:
    lay_sweep(Path("outputs"), {"optimizer=sgd": [0.5, 0.6], "optimizer=adam": [0.7, 0.8]}, study="optimizers")
    code = """
import sys
from imgrec.cli import main
for form in ("markdown", "latex", "csv"):
    sys.argv = ["imgrec", "table", "outputs", "--baseline", "optimizer=sgd", "--format", form]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
assert "imgrec.tables.tabulate" in sys.modules
heavy = {"torch", "torchvision", "lightning", "torchmetrics", "matplotlib", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("adam") >= 3


def test_seconds_of_runs_that_shared_a_gpu_and_of_others_are_warned_about(table: Table, runs: Path) -> None:
    h200 = {"gpu": ["NVIDIA H200"]}
    lay(runs, run("seed=0", score("top1", 0.5), environment={**h200, "shared": 4}))
    lay(runs, run("seed=1", score("top1", 0.6), environment={**h200, "shared": 4}))
    assert warnings(table()) == []
    lay(runs, run("seed=2", score("top1", 0.7), environment=h200))
    (warning,) = warnings(table())
    assert "shared it (runs at a time on a GPU: 1 / 4), so their seconds do not compare" in warning.replace(
        "4 / 1", "1 / 4"
    )


DIFFERENT_CPU = "trained on different devices, which round differently: AMD EPYC / NVIDIA H200"
ON_H200 = {"device": "NVIDIA H200", "gpu": ["NVIDIA H200"], "tf32": ["convolutions"]}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"device": "AMD EPYC"}, {"device": "AMD EPYC"}, []),
        ({"device": "AMD EPYC"}, {"device": "NVIDIA H200", "tf32": ["convolutions"]}, [DIFFERENT_CPU]),
        ({"device": "AMD EPYC"}, {}, []),  # an older record
        (ON_H200, ON_H200, []),
        (
            ON_H200,
            {**ON_H200, "tf32": []},
            ["trained by GPUs in different arithmetic: TF32 in convolutions / no TF32"],
        ),
    ],
)
def test_a_row_of_different_devices_is_warned_about(
    table: Table, runs: Path, first: dict[str, Any], second: dict[str, Any], told: list[str]
) -> None:
    for seed, environment in enumerate([first, second]):
        lay(runs, run(f"optimizer=sgd seed={seed}", score("top1", 0.5 + seed / 10), environment=environment))
        lay(runs, run(f"optimizer=adam seed={seed}", score("top1", 0.5 + seed / 10), environment=first))
    shown = [warning for warning in warnings(table()) if "hardware" not in warning]
    assert shown == [f"optimizer=sgd: {each}" for each in told]


def test_of_measurements_on_two_devices_that_of_the_runs_own_counts(table: Table, runs: Path) -> None:
    """Files are named by digests, whose order is another one for each run."""
    for seed in (0, 1):
        record = run(f"seed={seed}", score("top1", 0.5 + seed / 10), environment=ON_H200)
        folder = lay(runs, record).parent
        names = ("a.json", "b.json")[:: 1 - 2 * seed]
        for name, device, value in zip(names, ("AMD EPYC", "NVIDIA H200"), (0.6, 0.7), strict=True):
            path = measure(folder, record.run_id, score("top1", value, protocol="tta_flip"), name=name)
            text_files.write_json(path, text_files.read_json(path) | {"environment": {"device": device}})
    shown = table("--protocol", "tta_flip")
    assert warnings(shown) == []
    (row,) = shown.rows
    assert [text.split()[0] for name, text in row.items() if name.startswith("test top1")] == ["70.00"]
    assert "is 0.6 in outputs/" in "\n".join(shown.notes), "the other one is told"


def test_scores_that_were_measured_on_different_devices_are_warned_about(table: Table, runs: Path) -> None:
    for seed in (0, 1):
        record = run(f"seed={seed}", score("top1", 0.5 + seed / 10), environment=ON_H200)
        folder = lay(runs, record).parent
        path = measure(folder, record.run_id, score("top1", 0.6 + seed / 10, protocol="tta_flip"))
        text_files.write_json(path, text_files.read_json(path) | {"environment": {"device": "AMD EPYC"}})
    assert warnings(table("--protocol", "tta_flip")) == []
    text_files.write_json(path, text_files.read_json(path) | {"environment": ON_H200})
    (warning,) = warnings(table("--protocol", "clean,tta_flip"))
    assert "tta_flip measured on different devices: AMD EPYC / NVIDIA H200 (imgrec evaluate" in warning

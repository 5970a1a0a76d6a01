"""Test that Markdown, LaTeX and CSV contain the same table."""

import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, of_csv, of_latex, of_markdown, run, score

Said = tuple[int, str, str]
ODD = r"a_b 5% c&d #1 $x$ {y} ~z ^2 back\slash <i> >j 1|2 -3"
NUMBERS = (
    *("--scores", "top1,loss,ece", "--baseline", "optimizer=sgd"),
    *("--baseline", "augment=none", "--published", "schmidt-2021"),
)


@pytest.fixture
def runs(runs: Path) -> Path:
    """Settings with every kind of number, and some without: a best, ties, one seed, none, failures."""
    rows = {
        "augment=none optimizer=sgd": [(0.50, 2.0, 0.11), (0.52, 1.9, 0.12), (0.54, 1.8, 0.125)],
        "augment=none optimizer=adam": [(0.61, 1.0, 0.21), (0.64, 0.9, 0.22), (0.65, 0.85, 0.225)],
        "augment=flip optimizer=sgd": [(0.90, 0.25, 0.31), (0.92, 0.21, 0.33), (0.95, 0.19, 0.30)],
        "augment=flip optimizer=adam": [(0.50, 2.0, 0.11)],
    }
    for words, values in rows.items():
        outcomes = [dict(zip(("top1", "loss", "ece"), row, strict=True)) for row in values]
        cost = {"seconds": 123.4, "parameters": 1_972_792, "flops_per_image": 2.36e8}
        lay_sweep(runs, {words: outcomes}, cost=cost)
    lay_sweep(runs, {"augment=cutout optimizer=adam": ["failed", "running"]}, error="OSError: 100% full & _gone_")
    return runs


@pytest.fixture
def written(command: Callable[..., Said], runs: Path) -> Callable[..., str]:
    """The table in that format."""

    def write(form: str, *words: str) -> str:
        code, out, _ = command("table", str(runs), "--format", form, *words)
        assert code == 0
        return out

    return write


def ended(note: str) -> str:
    return note if note.endswith(".") else f"{note}."


@pytest.mark.parametrize(
    "words",
    [
        (),
        NUMBERS,
        (*NUMBERS, "--digits", "5"),
        ("--rows", "augment", "--columns", "optimizer", "--digits", "0"),
        ("--where", "augment=none", "--where", "optimizer=sgd"),
    ],
    ids=["plain", "all numbers", "five digits", "pivot", "one setting"],
)
def test_latex_has_the_cells_of_markdown_and_its_notes_below_or_as_comments(
    written: Callable[..., str], words: tuple[str, ...]
) -> None:
    markdown, latex = of_markdown(written("markdown", *words)), of_latex(written("latex", *words))
    assert latex.header == markdown.header
    assert latex.rows == markdown.rows
    assert latex.verdict == markdown.verdict
    asides = [note for note in markdown.notes if note.startswith(("commit ", "warning: "))]
    assert asides
    assert latex.notes == [*(ended(note) for note in markdown.notes if note not in asides), *asides]


@pytest.mark.parametrize("digits", [None, 0, 6])
def test_csv_has_the_numbers_of_markdown_each_in_a_column(written: Callable[..., str], digits: int | None) -> None:
    words = (*NUMBERS, *(() if digits is None else ("--digits", str(digits))))
    shown, rows = of_markdown(written("markdown", *words)), of_csv(written("csv", *words))
    assert len(rows) == len(shown.rows) == 5
    for row in rows:
        cells = shown.row(row["augment"], row["optimizer"])
        assert cells["parameters"].replace("–", "") == row["parameters"]
        assert cells["seconds"].replace("–", "") == row["seconds"]
        names = ("failed", "running", "interrupted", "missing")
        counts = [f"{row[name]} {name}" for name in names if row[name] != "0"]
        asked = int(row["finished"]) + sum(int(row[name]) for name in names)
        assert re.split(r", | \(|\)", cells["runs"]) == [
            f"{row['finished']}/{asked}",
            *counts,
            *([""] if counts else []),
        ]
        for number, label in enumerate(("test top1 %", "test loss", "test ece %"), 1):
            again = f" {number}" if number > 1 else ""
            told = {name.removeprefix(f"{label} "): text for name, text in row.items() if name.startswith(label)}
            spread = f" ± {told['std']}" if told["std"] else ""
            assert cells[label].strip("*") == (f"{told['mean']}{spread}" or "–")
            assert cells[label].startswith("**") == (told["best"] == "yes")
            assert cells[f"95 %{again}"] == (f"[{told['low']}, {told['high']}]" if told["low"] else "–")
            interval = f" [{told['difference low']}, {told['difference high']}]" if told["difference low"] else ""
            change = "baseline" if (row["augment"], row["optimizer"]) == ("none", "sgd") else "–"
            assert cells[f"Δ {label}"] == (f"{told['difference']}{interval}" or change)
            p = float(told["p"] or "nan")
            assert cells[f"p{again}"] == ("–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}")
            assert told["n"] == row["finished"]


def test_percent_has_two_digits_and_a_loss_four_unless_digits_says_otherwise(written: Callable[..., str]) -> None:
    words = ("--scores", "top1,loss", "--where", "augment=flip", "--where", "optimizer=sgd")
    row = of_markdown(written("markdown", *words)).rows[0]
    assert (row["test top1 %"], row["test loss"]) == ("92.33 ± 2.52", "0.2167 ± 0.0306")
    row = of_markdown(written("markdown", *words, "--digits", "0")).rows[0]
    assert (row["test top1 %"], row["test loss"]) == ("92 ± 3", "0 ± 0")
    assert of_csv(written("csv", *words, "--digits", "15"))[0]["test loss mean"].startswith("0.2166666666666")


def test_a_csv_names_every_number_and_has_nothing_else(written: Callable[..., str]) -> None:
    text = written("csv", "--baseline", "optimizer=sgd")
    rows = of_csv(text)
    assert len(text.splitlines()) == 1 + len(rows) == 6
    assert list(rows[0]) == [
        *("augment", "optimizer", "finished", "failed", "interrupted", "running", "missing"),
        *(f"test top1 % {kind}" for kind in ("mean", "std", "n", "low", "high")),
        *(f"test top1 % {kind}" for kind in ("difference", "difference low", "difference high", "test", "p", "pairs")),
        *(f"test top1 % {kind}" for kind in ("correlation", "p paired", "p Welch", "best")),
        *("parameters", "MFLOPs an image", "seconds", "published"),
    ]
    numbers = [text for row in rows for name, text in row.items() if name.startswith("test")]
    assert all(math.isfinite(float(text)) for text in numbers if text not in ("", "yes", "paired", "Welch"))


def test_what_a_format_takes_for_its_own_is_escaped(command: Callable[..., Said], workplace: Path) -> None:
    for seed, (name, top1) in enumerate(((ODD, 0.5), ("plain", 0.6))):
        lay(Path("odd"), run(f"seed={seed}", score("top1", top1), experiment=name))
    code, markdown, err = command("table", "odd")
    assert (code, err) == (0, "")
    assert {row["experiment"]: row["test top1 %"] for row in of_markdown(markdown).rows} == {
        ODD: "50.00",
        "plain": "60.00",
    }
    latex = command("table", "odd", "--format", "latex")[1]
    assert of_latex(latex).rows == of_markdown(markdown).rows
    (line,) = [line for line in latex.splitlines() if line.strip().startswith("a")]
    assert re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$[<>]\$", "", line).count("&") == len(of_latex(latex).header) - 1
    for mark in "%$#_^~|":
        assert not re.search(rf"(?<!\\)\{mark}", re.sub(r"\$[<>-]\$", "", line)), f"{mark} as it is"
    assert of_csv(command("table", "odd", "--format", "csv")[1])[0]["experiment"] in (ODD, "plain")


def test_a_row_that_begins_with_a_bracket_is_no_option_of_the_line_before(
    command: Callable[..., Said], workplace: Path
) -> None:
    r"""LaTeX looks behind \\ and \midrule for a length in brackets, also on the next line."""
    lay_sweep(Path("widths"), {"model.widths=[8,16]": [0.5], "model.widths=[16,32]": [0.6]})
    latex = command("table", "widths", "--format", "latex")[1]
    assert not re.search(r"(\\\\|rule)\s*\[", latex)
    assert [row["model.widths"] for row in of_latex(latex).rows] == ["[16,32]", "[8,16]"]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("words", [(), NUMBERS, ("--rows", "augment", "--columns", "optimizer")])
def test_latex_sets_the_table(written: Callable[..., str], workplace: Path, words: tuple[str, ...]) -> None:
    assert_set(workplace, written("latex", *words), of_markdown(written("markdown", *words)))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_sets_numbers_by_siunitx(written: Callable[..., str], workplace: Path) -> None:
    latex = written("latex", *NUMBERS, "--siunitx", "--label", "tab:x", "--caption", "50 % & more")
    assert_set(workplace, latex, of_markdown(written("markdown", *NUMBERS)))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_sets_names_that_hold_its_own_signs(command: Callable[..., Said], workplace: Path) -> None:
    for name, widths, top1 in ((ODD, "[8,16]", 0.5), ("plain", "[16,32]", 0.6)):
        lay(Path("odd"), run(f"model.widths={widths}", score("top1", top1), experiment=name))
    words = ("table", "odd", "--rows", "model.widths,experiment")
    assert_set(workplace, command(*words, "--format", "latex")[1], of_markdown(command(*words)[1]))


def assert_set(folder: Path, latex: str, shown: Shown) -> None:
    """LaTeX takes it without an error, and where a PDF can be read here, it shows the texts of the cells."""
    text = [r"\documentclass{article}", r"\usepackage[paperwidth=200cm,paperheight=100cm,margin=1cm]{geometry}"]
    (needs, *sets) = re.findall(r"^% (?:needs|and) (.*)$", latex, re.MULTILINE)
    text += [needs, *sets, r"\begin{document}", latex, r"\end{document}"]
    (folder / "page.tex").write_text("\n".join(text))
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    if shutil.which("pdftotext"):
        reader = ["pdftotext", "-layout", "page.pdf", "-"]
    elif shutil.which("mutool"):
        reader = ["mutool", "draw", "-q", "-F", "txt", "page.pdf"]
    else:
        return
    said = subprocess.run(reader, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout
    drawn = re.compile(r"[\s_~^˜ˆ]")  # which a PDF has as lines and accents, not as letters
    said = drawn.sub("", said.replace("−", "-"))
    for row in shown.rows:
        for cell in row.values():
            assert drawn.sub("", cell.strip("*")) in said

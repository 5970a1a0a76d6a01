"""Test what `imgrec figure` draws of created runs, and that no text is cut off or covered."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from answered import lay_answers, predicted
from diagnosed import add_curves
from fake_runs import PLACES, lay, lay_sweep, of_csv, run, score
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from imgrec.figure import style
from imgrec.figure.command import figure, look
from imgrec.figure.style import wrapped
from imgrec.tables import command as tables

Said = tuple[int, str, str]
LONG = "Stochastic gradient descent as Robbins & Monro published it in 1951, without_momentum_or_weight_decay"


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are laid out, none of which must outlive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure]:
    """`drawn(DIR, OPTION=VALUE...)`: the figure that the command writes to figure.png, with its notes as `.said`."""
    made: list[Figure] = []
    written = style.written

    def keep(figure: Figure, ending: str) -> tuple[bytes, list[str]]:
        made.append(figure)
        return written(figure, ending)

    monkeypatch.setattr(style, "written", keep)

    def draw(place: Path, **words: Any) -> Figure:
        kind, split = words.get("kind", "dots"), words.get("split")
        wanted = look(
            kind=kind,
            width=words.get("width", "column"),
            colour=words.get("colour"),
            cost=words.get("cost", "seconds"),
            split=split,
            limits=words.get("limits"),
        )
        asked = tables.request(
            scores=words.get("scores", "top1"),
            at="best",
            split=None if kind == "curves" else split,
            protocol=None,
            baseline=[],
            where=words.get("where", []),
            names=words.get("names"),
            sort=words.get("sort"),
            average=words.get("average", ""),
        )
        result = figure([place], asked, wanted, Path("figure.png"))
        made[-1].said = result.notes  # type: ignore[attr-defined]
        made[-1].problems = result.problems  # type: ignore[attr-defined]
        return made[-1]

    return draw


@pytest.fixture
def runs(workplace: Path) -> Path:
    """Two optimizers by two losses, three seeds; of one setting a run failed, and all have curves."""
    place = Path("outputs")
    for k, optimizer in enumerate(("sgd", "adam")):
        for j, loss in enumerate(("mse", "cross_entropy")):
            for seed in range(3):
                words = f"optimizer={optimizer} loss={loss} seed={seed}"
                value = 0.6 + 0.1 * k + 0.05 * j + 0.01 * seed**2
                scores = [score(name, x, at=at) for at in PLACES for name, x in (("top1", value), ("ece", 1 - value))]
                cost = {"seconds": 10.0 * (k + 1), "parameters": 10 ** (3 + 3 * j)}
                failed = (k, j, seed) == (0, 0, 2)
                record = run(words, **({"status": "failed", "error": "RunError: nan"} if failed else {}), cost=cost)
                record.scores = [] if failed else scores
                epochs = 2 if failed else 4
                add_curves(
                    lay(place, record).parent, {"val top1": [0.1 * e for e in range(epochs)], "train loss": [2.0]}
                )
    return place


def cut_or_covered(figure: Figure) -> list[str]:
    """Texts that leave the figure, or that lie over each other; a legend over a panel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    whole = figure.bbox.padded(1.0)
    outside: set[Any] = set()  # labels of ticks beyond an axis' ends, which are not drawn
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.majorTicks, *axis.minorTicks]
        outside |= {t for tick in ticks if not low <= tick.get_loc() <= high for t in (tick.label1, tick.label2)}
    boxes = []
    for text in figure.findobj(matplotlib.text.Text):
        if text in outside:
            continue
        box = text.get_window_extent(renderer)
        if text.get_visible() and text.get_text().strip() and box.width:
            boxes.append((text.get_text(), box))
    told = [name for name, box in boxes if not (whole.x0 <= box.x0 and box.x1 <= whole.x1)]
    told += [name for name, box in boxes if not (whole.y0 <= box.y0 and box.y1 <= whole.y1)]
    for k, (name, box) in enumerate(boxes):
        for other, area in boxes[:k]:
            if box.x0 < area.x1 - 1 and area.x0 < box.x1 - 1 and box.y0 < area.y1 - 1 and area.y0 < box.y1 - 1:
                told.append(f"{name!r} over {other!r}")
    for legend in figure.legends:
        area = legend.get_window_extent(renderer)
        told += ["legend over a panel" for axes in figure.axes if axes.get_window_extent(renderer).y1 > area.y0 + 1]
    return told


def marks(figure: Figure, panel: int = 0) -> dict[str, list[list[float]]]:
    """The x values that a panel of dots shows by what they are: runs, bars and means."""
    found: dict[str, list[list[float]]] = {"runs": [], "bars": [], "means": []}
    for line in figure.axes[panel].lines:
        values = [float(value) for value in np.asarray(line.get_xdata())]
        kind = "bars" if line.get_marker() in ("None", "|") else "runs" if line.get_markersize() < 3 else "means"
        if len({*values}) == 1 and kind == "bars":
            continue
        found[kind].append(values)
    return found


def test_dots_show_the_numbers_of_the_table(
    runs: Path, drawn: Callable[..., Figure], command: Callable[..., Said]
) -> None:
    rows = of_csv(command("table", str(runs), "--scores", "top1,ece", "--format", "csv", "--digits", "10")[1])
    figure = drawn(runs, scores="top1,ece", width="page")
    for panel, name in enumerate(("test top1 %", "test ece %")):
        found = marks(figure, panel)
        assert sorted(mean for (mean,) in found["means"]) == pytest.approx(
            sorted(float(row[f"{name} mean"]) for row in rows)
        )
        ends = [(float(row[f"{name} low"]), float(row[f"{name} high"])) for row in rows]
        assert sorted(tuple(bar) for bar in found["bars"] if bar != [0.0, 1.0]) == [
            pytest.approx(end) for end in sorted(ends)
        ]
        assert sorted(map(len, found["runs"])) == [2, 3, 3, 3]
    assert "failed: loss=mse optimizer=sgd seed=2: nan" in figure.said  # type: ignore[attr-defined]
    assert "2/3" in [text.get_text() for text in figure.axes[0].texts]


def test_thin_lines_are_the_intervals_over_new_images(
    workplace: Path, drawn: Callable[..., Figure], command: Callable[..., Said]
) -> None:
    draws = np.random.default_rng(0)
    answers = {
        f"optimizer={name}": [predicted([*(draws.random(200) < share)]) for _ in range(runs)]
        for name, share, runs in (("sgd", 0.6, 3), ("adam", 0.7, 1))
    }
    lay_answers(Path("outputs"), answers)
    rows = of_csv(command("table", "outputs", "--format", "csv", "--digits", "10")[1])
    figure = drawn(Path("outputs"))
    thin = [sorted(line.get_xdata()) for line in figure.axes[0].lines if line.get_marker() == "|"]
    names = ("test top1 % new images low", "test top1 % new images high")
    assert sorted(thin) == [
        pytest.approx(ends) for ends in sorted([float(row[name]) for name in names] for row in rows)
    ]
    assert any(note.startswith("Thin lines with ends: ") for note in figure.said)  # type: ignore[attr-defined]


def test_rows_are_sorted_and_averaged_as_in_the_table(workplace: Path, drawn: Callable[..., Figure]) -> None:
    values = {("sgd", "mse"): 0.7, ("sgd", "hinge"): 0.8, ("adam", "mse"): 0.5, ("adam", "hinge"): 0.4}
    rows = {f"optimizer={name} loss={loss}": [value, value + 0.02] for (name, loss), value in values.items()}
    lay_sweep(Path("outputs"), rows)
    figure = drawn(Path("outputs"), average="loss", sort="top1")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["sgd", "adam"]
    assert sorted(mean for (mean,) in marks(figure)["means"]) == pytest.approx([46, 76])
    assert list(map(len, marks(figure)["runs"])) == [2, 2]
    assert any(note.startswith("Small dots: a seed's mean over its runs.") for note in figure.said)  # type: ignore[attr-defined]
    assert not figure.axes[0].texts


def test_a_setting_whose_runs_all_failed_keeps_its_place(workplace: Path, drawn: Callable[..., Figure]) -> None:
    lay_sweep(Path("outputs"), {"optimizer=sgd": ["failed", "failed"], "optimizer=adam": [0.7, 0.8]})
    figure = drawn(Path("outputs"))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["adam", "sgd"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0/2"]


@pytest.mark.parametrize("words", [{}, {"kind": "curves"}, {"kind": "cost", "cost": "parameters"}])
@pytest.mark.parametrize("width", ["column", "page"])
def test_nothing_is_cut_or_covered(runs: Path, drawn: Callable[..., Figure], words: dict[str, Any], width: str) -> None:
    figure = drawn(runs, width=width, **words)
    assert cut_or_covered(figure) == []
    assert figure.get_figwidth() == {"column": 3.25, "page": 6.75}[width]


@pytest.mark.parametrize(("kind", "width"), [("dots", "column"), ("cost", "page")])
@pytest.mark.long
def test_twenty_settings_with_long_names_fit(
    workplace: Path, drawn: Callable[..., Figure], kind: str, width: str
) -> None:
    for k in range(20):
        for seed in range(2):
            words = f"model.widths=[{k + 1},{2 * k + 2}] seed={seed}"
            lay(Path("outputs"), run(words, score("top1", 0.5 + k / 50 + seed / 90), cost={"seconds": 1.0 + k % 6}))
    Path("names.toml").write_text(
        f'"model.widths=[1,2]" = "{LONG}"\n"model.widths=[3,6]" = "{LONG.replace(" ", "_")}"\n'
        f'"test top1" = "{LONG}"\nmodel.widths = "Widths"\n'
    )
    figure = drawn(Path("outputs"), kind=kind, width=width, names=Path("names.toml"))
    assert cut_or_covered(figure) == []
    shown = " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(matplotlib.text.Text))
    assert LONG in shown.replace("_ ", "_")
    assert "Widths = [20,40]" in shown


def test_curves_are_means_over_runs_with_a_band(runs: Path, drawn: Callable[..., Figure]) -> None:
    figure = drawn(runs, kind="curves", colour="optimizer")
    assert [axes.get_title() for axes in figure.axes] == ["cross_entropy", "mse"]
    for axes in figure.axes:
        for line in axes.lines:
            assert list(line.get_xdata())[:2] == [1, 2]
            first = 100 * (0 + 0.02 / 2)  # of seeds 0, 1 and 2, which add as many hundredths
            assert line.get_ydata()[0] == pytest.approx(first)
        assert len(axes.collections) == len(axes.lines) == 2
    assert "the curves of sgd, mse are means of 2 to 3 runs, as some end earlier" in figure.said  # type: ignore[attr-defined]
    figure = drawn(runs, kind="curves", scores="loss", split="train")
    assert "train loss does not compare between settings of different data or losses" in figure.said  # type: ignore[attr-defined]
    (axes,) = figure.axes
    assert (axes.get_ylabel(), len(axes.lines)) == ("Training loss", 4)


def test_curves_of_a_damaged_file_are_a_problem(runs: Path, drawn: Callable[..., Figure]) -> None:
    damaged = sorted(runs.iterdir())[0] / "curves.csv"
    damaged.write_text("no,table\n")
    figure = drawn(runs, kind="curves")
    (problem,) = figure.problems  # type: ignore[attr-defined]
    assert problem.startswith(f"{damaged} must be a table of step")
    assert any(note.startswith("without curves: 1 of 3 runs of ") for note in figure.said)  # type: ignore[attr-defined]


def test_cost_is_the_mean_of_the_records(runs: Path, drawn: Callable[..., Figure]) -> None:
    figure = drawn(runs, kind="cost", cost="parameters")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    points = [line for line in axes.lines if line.get_marker() != "None"]
    assert sorted(float(line.get_xdata()[0]) for line in points) == [1e3, 1e3, 1e6, 1e6]
    looks = {(line.get_marker(), line.get_fillstyle(), line.get_markerfacecolor()) for line in points}
    assert len(looks) == 4, "each setting has a mark of its own"


def test_settings_differ_in_grey_too(runs: Path, drawn: Callable[..., Figure]) -> None:
    lines = drawn(runs, kind="curves", colour="optimizer").axes[0].lines
    assert len({line.get_marker() for line in lines}) == len({line.get_linestyle() for line in lines}) == 2
    assert len(set(style.MARKERS)) == len(style.MARKERS) >= style.MOST_SERIES == len(style.DASHES)


def test_limits_show_where_means_are_and_say_what_is_cut(runs: Path, drawn: Callable[..., Figure]) -> None:
    figure = drawn(runs, limits="68,100", colour="none")
    assert figure.axes[0].get_xlim() == (68, 100)
    assert sum(line.get_marker() == "<" for line in figure.axes[0].lines) == 2
    assert "beyond the limits: cross_entropy, sgd (2 of 3 runs); mse, sgd (2 of 2 runs)" in figure.said  # type: ignore[attr-defined]
    assert cut_or_covered(figure) == []


@pytest.mark.parametrize("ending", [".pdf", ".svg", ".png"])
def test_the_file_is_of_its_kind_and_size(runs: Path, command: Callable[..., Said], ending: str) -> None:
    code, out, err = command("figure", str(runs), "-o", f"new/figure{ending}", "--width", "4")
    assert (code, err) == (0, "")
    path, gap, verdict, end, note, *_ = out.splitlines()
    assert (path, gap, end) == (f"new/figure{ending}", "", "")
    assert verdict == command("table", str(runs))[1].splitlines()[0]
    assert note.startswith("- Small dots: single runs. Large marks: their means. Bars: 95 % intervals of new seeds")
    content = Path(f"new/figure{ending}").read_bytes()
    if ending == ".png":
        assert Image.open(f"new/figure{ending}").size[0] == 4 * 300
    if ending == ".svg":
        assert b"<text" not in content, "letters are shapes"
        assert b'width="288pt"' in content
    if ending == ".pdf":
        assert re.search(rb"/MediaBox \[ 0 0 288 ", content)
        assert b"/FontFile2" in content, "TrueType, embedded"
        assert b"/Type3" not in content
    assert not re.search(rb"CreationDate|<dc:date>|20\d\d-\d\d-\d\dT", content)


_TWICE = """
import sys
from imgrec.cli import main
for ending in ("pdf", "svg", "png"):
    sys.argv = ["imgrec", "figure", "outputs", "-o", f"again.{ending}"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
print("loaded", *{"torch", "lightning", "pandas", "altair", "matplotlib.pyplot"}.intersection(sys.modules))
"""


@pytest.mark.long
def test_the_same_runs_give_the_same_bytes_whatever_a_user_has_set(runs: Path, command: Callable[..., Said]) -> None:
    Path("matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 20\naxes.grid: True\n")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MPLCONFIGDIR": str(Path.cwd())}
    done = subprocess.run([sys.executable, "-c", _TWICE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded"
    before = dict(matplotlib.rcParams)
    for ending in ("pdf", "svg", "png"):
        assert command("figure", str(runs), "-o", f"once.{ending}")[0] == 0
        assert Path(f"once.{ending}").read_bytes() == Path(f"again.{ending}").read_bytes()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.long
def test_names_are_as_they_stand_and_characters_without_a_shape_are_told(
    runs: Path, command: Callable[..., Said], drawn: Callable[..., Figure]
) -> None:
    Path("names.toml").write_text('"optimizer=sgd" = "$x^2$ \\u512a"\noptimizer = "Optimizer"\nloss.name = "Loss"\n')
    figure = drawn(runs, names=Path("names.toml"), colour="optimizer")
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "Optimizer"
    assert [text.get_text() for text in legend.get_texts()] == ["adam", "$x^2$ \u512a"]
    code, out, err = command("figure", str(runs), "--names", "names.toml")
    assert (code, err) == (0, "")
    assert "- the figure's font lacks \u512a; --names gives other names" in out.splitlines()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("-o figure.jpg", "-o figure.jpg must end in one of .pdf, .svg, .png, got '.jpg'; such as -o figure.pdf"),
        ("-o -", "-o - must end in one of .pdf, .svg, .png, got ''"),
        ("--kind violin", "--kind must be one of dots, curves, cost, got 'violin'"),
        ("--cost money", "--cost must be one of seconds, flops, parameters, got 'money'"),
        (
            "--cost flops --kind cost",
            "--cost flops needs finished runs whose records have it, and there is none; choose",
        ),
        ("--width wide", "--width must be column or page, or inches from 2 to 40, got 'wide'"),
        ("--width nan", "--width must be column or page, or inches from 2 to 40, got 'nan'"),
        ("--colour optimiser", "--colour optimiser must be a factor of the figure or none, and is neither; "),
        ("--limits 100", "--limits must be LOW,HIGH with LOW < HIGH, got '100'; such as --limits 90,100"),
        ("--limits 100,90", "--limits must be LOW,HIGH with LOW < HIGH, got '100,90'"),
        ("--limits 90,100 --scores top1,ece", "--limits is of one score's axis, and --scores names 2; draw a figure"),
        ("--kind curves --split test", "--split must be one of val, train, got 'test'"),
        ("--kind curves --scores ece", "no run logged val ece once an epoch; there are train loss, val top1"),
        ("--kind curves --average loss", "--kind curves draws settings by themselves, got --average loss; choose"),
        ("--scores los", "no run has the score test los"),
        ("--where optimizer=muon", "--where optimizer=muon must leave runs, and leaves none"),
    ],
)
def test_a_wrong_word_is_refused(runs: Path, command: Callable[..., Said], words: str, sentence: str) -> None:
    code, out, err = command("figure", str(runs), *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"imgrec: {sentence}"), err
    assert len(err.splitlines()) == 1
    assert not Path("figure.pdf").exists()


@pytest.mark.long
def test_what_a_figure_has_no_room_for_is_refused(workplace: Path, command: Callable[..., Said]) -> None:
    for k in range(21):
        path = lay(Path("outputs"), run(f"optimizer.lr={k + 1}", score("top1", 0.5), cost={"seconds": 1.0}))
        add_curves(path.parent, {"val top1": [0.1]})

    def refused(*words: str) -> str:
        code, _, err = command("figure", "outputs", *words)
        assert code == 2
        return err

    assert "--kind cost tells 20 settings apart by their marks, and there are 21" in refused("--kind", "cost")
    assert "--colour optimizer.lr must have 7 values at most" in refused("--colour", "optimizer.lr")
    assert command("figure", "outputs", "--colour", "none")[0] == 0
    assert command("figure", "outputs", "--kind", "cost", "--where", "optimizer.lr!=3")[0] == 0


def test_a_score_that_is_always_infinite_has_no_curve(workplace: Path, command: Callable[..., Said]) -> None:
    path = lay(Path("outputs"), run("optimizer.lr=1", score("top1", 0.5)))
    add_curves(path.parent, {"val top1": [0.1, 0.2], "val noise_scale": [float("inf"), float("nan")]})
    code, _, err = command("figure", "outputs", "--kind", "curves", "--scores", "noise_scale")
    assert code == 2
    assert err.startswith(
        "imgrec: each value of val noise_scale is infinite or NaN, and no curve shows such; there are"
    )
    assert "val top1" in err
    add_curves(path.parent, {"val top1": [0.1, 0.2], "val loss": [1.0, 2.0]})
    with (path.parent / "curves.csv").open("a") as file:
        file.write("2,2,val,loss,inf\n")  # once more in this epoch
    assert (
        "no run logged val loss once an epoch"
        in command("figure", "outputs", *["--kind", "curves", "--scores", "loss"])[2]
    )


def test_curves_need_the_runs_folders_and_dots_a_finished_run(workplace: Path, command: Callable[..., Said]) -> None:
    lay(Path("records"), run("seed=0", score("top1", 0.5)))
    code, _, err = command("figure", "records", "--kind", "curves")
    assert code == 2
    assert "--kind curves needs the runs' folders" in err
    lay_sweep(Path("begun"), {"optimizer=sgd": ["running"]})
    code, _, err = command("figure", "begun")
    assert code == 2
    assert "a figure of scores needs a finished run, and none of these has finished" in err


@pytest.mark.parametrize("text", ["optimizer = 3", "optimizer = ", '"optimizer=sgd" = ["SGD"]', "\x00"])
def test_a_file_of_names_that_is_none_is_refused(runs: Path, command: Callable[..., Said], text: str) -> None:
    Path("names.toml").write_text(text)
    code, _, err = command("figure", str(runs), "--names", "names.toml")
    assert code == 1
    assert err.startswith("imgrec: names.toml must be a TOML file of names, got: ")
    assert command("figure", str(runs), "--names", "none.toml")[0] == 1


def test_a_record_that_cannot_be_read_is_told_and_the_rest_drawn(runs: Path, command: Callable[..., Said]) -> None:
    Path("outputs/broken").mkdir()
    Path("outputs/broken/record.json").write_text("{")
    code, out, err = command("figure", str(runs))
    assert code == 1
    assert out.startswith("figure.pdf\n")
    assert "outputs/broken/record.json must be a record" in err


@pytest.mark.parametrize("text", ["a", "cross_entropy, adam", LONG, "x" * 200, "", "a\nb\tc \x1b[31m", "W" * 3])
@pytest.mark.parametrize("room", [0.3, 1.2])
def test_a_wrapped_text_fits_and_keeps_its_letters(text: str, room: float) -> None:
    with style.in_print():
        lines = wrapped(text, room).split("\n")
        assert all(style.width_of(line) <= room for line in lines)
    whole = "".join(text.split()).replace("\x1b", "\\x1b")
    assert "".join("".join(lines).split()) == whole
    assert math.isclose(style.height_of("\n".join(lines)), style.LINE * len(lines))

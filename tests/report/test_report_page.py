"""Test what the page of `imgrec report` says of created runs. test_report_browser opens it in a browser."""

import html
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from diagnosed import add_curves, add_diagnostics
from fake_runs import lay, lay_sweep, run, score
from numpy.typing import NDArray
from runs import one_line

from imgrec import records
from imgrec.report.chart_style import COLOURS

Said = tuple[int, str, str]


class Page(HTMLParser):
    """What a page has: links, its tables as rows of texts, its scripts, and all its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.loaded: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self._open.append(tag)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag in ("script", "link", "img", "iframe") and (source := given.get("src") or given.get("href")):
            self.loaded.append(source)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.tables[-1][-1][-1] = self.tables[-1][-1][-1].strip()
        while self._open:
            if self._open.pop() == tag:
                return

    def handle_data(self, data: str) -> None:
        if "script" in self._open or "style" in self._open:
            return
        self.text += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data


def specs(text: str) -> dict[str, Any]:
    """The charts' specifications, as the page's script reads them."""
    (found,) = re.findall(r'<script type="application/json" id="specs">(.*?)</script>', text, re.DOTALL)
    charts: dict[str, Any] = json.loads(found)
    return charts


def values(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of a chart's data, its layers' included."""
    own: list[dict[str, Any]] = spec.get("data", {}).get("values", [])
    return [*own, *(row for layer in spec.get("layer", []) for row in values(layer))]


@pytest.fixture
def sweep(workplace: Path) -> Path:
    """Two optimizers by two seeds, with curves and diagnostics, and a run that failed."""
    place = Path("outputs/default")
    lay_sweep(place, {"optimizer=adam": [0.9, 0.92], "optimizer=sgd": [0.7, 0.72, "failed"]}, error="RunError: too hot")
    for folder in place.iterdir():
        if records.read(folder / "record.json").status == "finished":
            top1 = 0.9 if "adam" in folder.name else 0.7
            add_curves(folder, {"val top1": [top1 - 0.1, top1], "train loss": [2.0, 1.0]})
            add_diagnostics(folder, ("cat", "dog"), [[9, 1], [2, 8]])
    return place


@pytest.fixture
def page(command: Callable[..., Said], sweep: Path) -> str:
    code, out, err = command("report", str(sweep), "-o", "page.html")
    assert (code, out, err) == (0, "page.html\n", "")
    return Path("page.html").read_text("utf-8")


def test_the_page_has_the_settings_the_runs_and_what_failed(page: str) -> None:
    shown = Page(page)
    settings, *numbers, runs = shown.tables
    assert len(numbers) == len(specs(page)), "each chart has its numbers as a table"
    assert settings[0][:3] == ["optimizer", "n", "runs"]
    assert [row[0] for row in settings[1:]] == ["adam", "sgd"]
    assert settings[1][3] == "91.00 ± 1.41"
    assert settings[1][4] == "[78.29, 100.00]"
    assert len(runs) == 1 + 5
    assert [row[2] for row in runs[1:]].count("failed") == 1
    assert "5 runs" in shown.text
    assert html.unescape(re.findall(r'<p class="verdict">(.*)</p>', page)[0]) == (
        "test top1 %: can't tell which is best; optimizer=adam (2 of 3 runs) leads optimizer=sgd (2 of 3 runs) by 20.00"
        " points (2 seeds each, these images); the runs that it lacks may have gone worse."
    )
    assert page.index('class="verdict"') < page.index("<table")
    assert "RunError: too hot" in shown.text
    assert "imgrec train -m optimizer=adam seed=0,1" in shown.text


@pytest.mark.parametrize(
    ("places", "title"),
    [
        (["sweeps/rates"], "rates"),
        (["sweeps"], "rates, losses"),
        (["kept/records"], "kept"),
        (["sweeps/rates/one-0badc0de"], "one-0badc0de"),
    ],
)
def test_the_title_is_the_name_of_the_runs_folder(
    command: Callable[..., Said], workplace: Path, places: list[str], title: str
) -> None:
    for seed, folder in enumerate(("sweeps/rates", "sweeps/rates", "sweeps/losses", "kept/records", "kept/records")):
        name = "one-0badc0de" if seed == 0 else None
        lay(Path(folder), run(f"experiment=demo seed={seed}", score("top1", 0.5)), name)
    assert command("report", *places)[0] == 0
    assert f"<h1>{title}</h1>" in Path("page.html").read_text("utf-8")


def test_each_run_links_to_its_folder_from_where_the_page_lies(
    command: Callable[..., Said], sweep: Path, workplace: Path
) -> None:
    code, _, _ = command("report", str(sweep), "-o", "pages/deep/page.html")
    assert code == 0
    links = [link for link in Page(Path("pages/deep/page.html").read_text("utf-8")).links if not link.startswith("#")]
    assert len(links) == 5
    for link in links:
        assert (Path("pages/deep") / unquote(link) / "record.json").is_file()


def test_curves_are_means_with_a_band_over_seeds(page: str) -> None:
    charts = specs(page)
    rows = {(row["setting"], row["epoch"]): row for row in values(charts["curves-val-top1"])}
    assert rows["adam", 2]["mean"] == pytest.approx(0.905)  # seed k adds k hundredths
    assert rows["adam", 2]["high"] - rows["adam", 2]["mean"] == pytest.approx(0.01 / 2**0.5, rel=1e-4)
    assert rows["adam", 2]["n"] == 2
    assert "curves-val-loss" not in charts


def test_confusion_calibration_and_classes_are_summed_over_seeds(page: str) -> None:
    charts = specs(page)
    cells = {(row["setting"], row["true"], row["predicted"]): row for row in values(charts["confusion"])}
    assert (cells["adam", "cat", "cat"]["count"], cells["adam", "cat", "cat"]["share"]) == (18, 0.9)
    classes = {(row["setting"], row["name"]): row["mean"] for row in values(charts["classes"])}
    assert classes["sgd", "dog"] == pytest.approx(80)
    assert {row["n"] for row in values(charts["calibration"]) if row["setting"] == "adam"} == {40}


@pytest.mark.long
def test_the_numbers_of_a_chart_are_those_that_it_draws(page: str) -> None:
    spec = specs(page)["curves-val-top1"]
    (table,) = [table for table in Page(page).tables if table[0] == ["epoch", "adam", "sgd"] and table[1][1] == "0.805"]
    drawn = {(row["setting"], str(row["epoch"])): row["mean"] for row in values(spec)}
    for epoch, adam, sgd in table[1:]:
        assert (float(adam), float(sgd)) == pytest.approx((drawn["adam", epoch], drawn["sgd", epoch]))


def test_infinite_values_are_left_out_of_the_curves_and_named(command: Callable[..., Said], sweep: Path) -> None:
    for folder in sweep.glob("*sgd*"):
        add_curves(folder, {"val top1": [0.5, float("nan")], "train loss": [1.0, float("inf")]})
    code, _, err = command("report", str(sweep), "-o", "page.html")
    assert (code, err) == (0, "")
    text = Path("page.html").read_text("utf-8")
    points = {(row["setting"], row["epoch"]) for row in values(specs(text)["curves-train-loss"])}
    assert points == {("adam", 1), ("adam", 2), ("sgd", 1)}
    assert "are not in the curves: train loss, val top1" in Page(text).text


def test_runs_of_a_study_are_repeated_one_by_one(command: Callable[..., Said], workplace: Path) -> None:
    lay_sweep(Path("outputs/losses"), {"study=losses loss=mse optimizer.lr_scale=10": [0.5, 0.6]}, study="losses")
    assert command("report", "outputs", "-o", "page.html")[0] == 0
    shown = Page(Path("page.html").read_text("utf-8")).text
    for seed in (0, 1):
        assert f"imgrec train study=losses loss=mse optimizer.lr_scale=10 seed={seed} hydra.mode=RUN\n" in shown


def test_a_study_of_one_s_own_needs_its_folder_to_be_repeated(command: Callable[..., Said], workplace: Path) -> None:
    for study in ("mine", "losses"):
        lay_sweep(
            workplace / "outputs" / study, {"loss=mse": [0.5]}, study=study, command=["loss=mse", f"study={study}"]
        )
        assert command("report", f"outputs/{study}", "-o", f"{study}.html")[0] == 0
    assert (
        "imgrec train --config-dir DIR loss=mse study=mine hydra.mode=RUN\n" in Page(Path("mine.html").read_text()).text
    )
    assert "imgrec train loss=mse study=losses hydra.mode=RUN\n" in Page(Path("losses.html").read_text()).text


def test_the_page_loads_nothing_and_forbids_itself_to(page: str) -> None:
    assert Page(page).loaded == []
    assert "default-src 'none'" in page
    assert "url(" not in page.partition("</style>")[0]


def test_names_stay_names_whatever_they_hold(command: Callable[..., Said], workplace: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>&\"'"
    record = run("optimizer=adam seed=0", score("top1", 0.5, at="best"), error=None, study=evil)
    folder = lay(Path("outputs/a b"), record, name="run <b>").parent
    add_curves(folder, {"val top1": [0.5]})
    add_diagnostics(folder, (evil, "dog"), [[9, 1], [2, 8]])
    code, _, err = command("report", "outputs", "-o", "page.html")
    assert (code, err) == (0, "")
    text = Path("page.html").read_text("utf-8")
    assert Page(text).loaded == []
    assert evil in Page(text).text
    assert {row["true"] for row in values(specs(text)["confusion"])} == {evil, "dog"}


def test_names_of_classes_that_javascript_or_utf_8_do_not_have(command: Callable[..., Said], workplace: Path) -> None:
    folder = lay(Path("outputs"), run("optimizer=adam seed=0", score("top1", 0.5, at="best"), error=None)).parent
    add_diagnostics(folder, ("constructor", "\udcff"), [[9, 1], [2, 8]])
    code, _, err = command("report", "outputs", "-o", "page.html")
    assert (code, err) == (0, "")
    text = Path("page.html").read_text("utf-8")
    assert {row["true"] for row in values(specs(text)["confusion"])} == {"constructor\u200b", r"\udcff"}


def test_records_without_folders_make_a_page_without_charts_of_epochs(
    command: Callable[..., Said], workplace: Path
) -> None:
    lay_sweep(Path("records"), {"optimizer=adam": [0.9, 0.92]}, cost={"seconds": 5.0})
    code, _, err = command("report", "records", "-o", "page.html")
    assert (code, err) == (0, "")
    text = Path("page.html").read_text("utf-8")
    assert list(specs(text)) == ["cost"]
    assert "the records do not say when" in Page(text).text


def test_when_the_runs_were_made_comes_from_their_records(command: Callable[..., Said], workplace: Path) -> None:
    for seed, hour in ((0, "08"), (1, "10")):
        times = {"began": f"2026-01-02T{hour}:00:00+00:00", "ended": f"2026-01-02T{hour}:30:00+00:00"}
        lay(Path("records"), run(f"seed={seed}", score("top1", 0.5), **times))
    assert command("report", "records", "-o", "page.html")[0] == 0
    assert "2026-01-02 08:00 to 2026-01-02 10:30 UTC" in Page(Path("page.html").read_text("utf-8")).text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("curves.csv", "step,epoch,split,metric,value\n1,one,val,top1,0.5\n"),
        ("diagnostics.json", "{"),
        ("diagnostics.json", '{"best": {"test": {"classes": ["a"], "confusion": [], "per_class": []}}}'),
        ("diagnostics.json", "[]"),
    ],
)
def test_what_cannot_be_drawn_is_named_and_the_rest_is_there(
    command: Callable[..., Said], sweep: Path, name: str, text: str
) -> None:
    folder = next(path for path in sorted(sweep.iterdir()) if "adam" in path.name)
    (folder / name).write_text(text)
    code, out, err = command("report", str(sweep), "-o", "page.html")
    assert (code, out) == (1, "page.html\n")
    assert f"{folder / name} must be" in err
    assert "Traceback" not in err
    shown = Page(Path("page.html").read_text("utf-8"))
    assert len(shown.tables[0]) == 1 + 2
    assert len(shown.tables[-1]) == 1 + 5
    assert f"{folder / name} must be" in shown.text


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["outputs", "--scores", "top7"], 2, "no run has the score test top7"),
        (["nowhere"], 2, "nowhere must be a folder of runs"),
        (["outputs", "--baseline", "adam"], 2, "--baseline must be KEY=VALUE"),
        (["outputs", "-o", "outputs"], 2, "must be a file"),
        (["outputs", "-o", "outputs/default/README/page.html"], 1, "cannot be written"),
    ],
)
def test_refusals_are_sentences(
    command: Callable[..., Said], sweep: Path, words: list[str], code: int, reason: str
) -> None:
    (sweep / "README").write_text("a file")
    given, out, err = command("report", *words)
    assert (given, out) == (code, "")
    assert reason in one_line(err)
    assert not Path("page.html").exists()


# Machado, Oliveira & Fernandes 2009, table 1, severity 1.0: linear RGB as the colour-blind see it
_BLINDNESS = {
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


def _linear(colour: str) -> NDArray[np.float64]:
    value = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = _TO_XYZ @ linear / np.array([0.9505, 1, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("ground", ["#ffffff", "#14171b"])
def test_the_colours_stand_out_on_both_grounds(ground: str) -> None:
    css = (Path(__file__).parents[2] / "src/imgrec/report/page.css").read_text()
    assert ground in css.replace("#fff;", "#ffffff;")
    behind = float(_TO_XYZ[1] @ _linear(ground))
    for colour in COLOURS:
        light, dark = sorted((behind, float(_TO_XYZ[1] @ _linear(colour))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


@pytest.mark.parametrize("blindness", list(_BLINDNESS))
def test_the_colours_differ_to_the_colour_blind(blindness: str) -> None:
    seen = [_lab(np.clip(np.array(_BLINDNESS[blindness]) @ _linear(colour), 0, 1)) for colour in COLOURS]
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(one - other) >= 20

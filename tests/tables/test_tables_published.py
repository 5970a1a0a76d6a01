"""Test published figures by others, beside one's own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, of_csv, run, score

from imgrec.config.root import AXES
from imgrec.config.schemas import choices, known_keys
from imgrec.tables import published
from imgrec.tables.column import Column
from imgrec.tables.published import Figure

Said = tuple[int, str, str]
Table = Callable[..., Shown]
FIGURES = published.read(published.OWN)
TWO = {"data=cifar10 optimizer=sgd": [0.5, 0.6], "data=cifar10 optimizer=adam": [0.7, 0.8]}
OWN = """
[[source]]
key = "mine"
citation = "Ours | 2031, 50 % & more_"
model = "CNN"
data = "digits"
training = "ten epochs"
matches = true
figures = [
    { setting = { optimizer = "sgd" }, metric = "top1", value = "55.0", spread = "1.50" },
    { setting = { optimizer = "adam", "optimizer.lr" = 0.001 }, metric = "top1", value = "75" },
    { setting = { optimizer = "adam", "optimizer.lr" = 0.5 }, metric = "top1", value = "1" },
    { setting = { optimizer = "adam" }, metric = "ece", value = "4.35" },
]
"""


def figure_id(figure: Figure) -> str:
    return " ".join([figure.source.key, *figure.setting.values(), figure.metric])


def chosen(figure: Figure) -> str:
    """The choice that it is a figure of, beside its data and the values of the choice."""
    beside = {"data", "loss"} if "optimizer" in figure.setting else {"data"}
    (name,) = [name for key, name in figure.setting.items() if key not in beside and "." not in key]
    return name


def cited(shown: Shown, setting: str) -> dict[str, str]:
    """The row's figures, and the first author of each."""
    found = {}
    for cell in shown.row(setting)["published"].split("; "):
        figure, _, letter = cell.rpartition(" ")
        found[figure] = shown.note(f"{letter} ").split(" ")[1]
    return found


@pytest.mark.parametrize("figure", FIGURES, ids=figure_id)
def test_each_figure_that_comes_along_stands_beside_the_runs_that_its_setting_names(figure: Figure) -> None:
    assert figure.setting.keys() <= {*AXES, "experiment", *known_keys()}
    for key, name in figure.setting.items():
        assert key in known_keys() or name in choices(key)
    words = " ".join(f"{key}={name}" for key, name in figure.setting.items())
    column = Column(metric=figure.metric, split="test", protocol=figure.source.test)
    assert figure.fits(run(words), column)
    for other in ({"metric": "iou"}, {"split": "val"}, {"protocol": "tta_flip"}):
        assert not figure.fits(run(words), dataclasses.replace(column, **other))
    assert not figure.fits(run("data=cifar10 optimizer=muon loss=hinge augment=mixup"), column)
    assert not figure.fits(run(f"{words} data=digits"), column), "which it is not of"


@pytest.mark.parametrize("figure", FIGURES, ids=figure_id)
def test_each_figure_that_comes_along_is_a_percentage_with_its_source(figure: Figure) -> None:
    assert figure.metric in ("top1", "ece")
    assert 50 < float(figure.value) < 100 or (figure.metric == "ece" and 0 < float(figure.value) < 50)
    assert figure.spread is None or 0 < float(figure.spread) < 5
    source = figure.source
    assert source.studies, "or nothing shows it unasked"
    assert set(source.studies) <= {*choices("study"), *choices("experiment")}
    assert source.matches is False, "the runs here are of other networks, or of other lengths"
    assert source.line().endswith("; the protocol differs")
    assert all(text.strip() for text in (source.citation, source.model, source.data, source.training))


def test_sources_have_keys_of_their_own_and_no_figure_twice() -> None:
    sources = {figure.source for figure in FIGURES}
    assert len({source.key for source in sources}) == len({source.line() for source in sources}) == len(sources)
    named = [figure_id(figure) for figure in FIGURES]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("source", "metric", "errors"),
    [
        ("wilson-2017", "top1", {"sgd": "7.65", "rmsprop": "9.60"}),
        (
            "mukhoti-2020",
            "top1",
            {"cross_entropy": "4.95", "brier": "5.00", "label_smoothing": "5.29", "focal": "5.25"},
        ),
    ],
)
def test_what_was_printed_as_an_error_is_a_hundred_minus_it(source: str, metric: str, errors: dict[str, str]) -> None:
    figures = [figure for figure in FIGURES if figure.source.key == source and figure.metric == metric]
    assert {chosen(figure) for figure in figures} == set(errors)
    for figure in figures:
        printed = errors[chosen(figure)]
        assert figure.value == f"{100 - float(printed):.2f}"
        assert printed in figure.source.training


def test_figures_of_optimizers_stand_beside_cross_entropy_alone(table: Table, runs: Path) -> None:
    lay_sweep(
        runs,
        {f"data=cifar10 optimizer=adam loss={loss}": [0.5] for loss in ("mse", "cross_entropy")},
        study="optimizers",
    )
    shown = table()
    assert shown.row("mse")["published"] == "–"
    assert "81.59 ± 1.06" in shown.row("cross_entropy")["published"]


def test_a_study_s_figures_stand_beside_its_runs_unasked(table: Table, runs: Path) -> None:
    lay_sweep(runs, TWO, study="optimizers")
    shown = table()
    assert cited(shown, "adam") == {"81.59 ± 1.06": "Schmidt", "92.94": "Zhuang"}
    assert cited(shown, "sgd") == {"80.75 ± 0.39": "Schmidt", "92.35 ± 0.14": "Wilson"}
    assert len([note for note in shown.notes if note.startswith("[")]) == 3, "a source once, and none that is not shown"
    (wilson,) = [note for note in shown.notes if "Wilson" in note]
    assert wilson[4:] == (
        "Wilson et al. 2017, arXiv 1705.08292: VGG, CIFAR-10, learning rates tuned for each optimizer, test error"
        " as printed 7.65 ± 0.14 and 9.60 ± 0.19; the protocol differs."
    )


@pytest.mark.parametrize(
    ("same", "other", "figures"),
    [
        ("loss=label_smoothing_005", "loss=label_smoothing", {"94.71", "2.96"}),
        ("loss=focal_3", "loss=focal", {"94.75", "1.48"}),
        ("augment=cutout", "augment=cutout augment.cutout_size=8", {"96.01"}),
    ],
)
def test_a_figure_stands_beside_its_own_values_alone(same: str, other: str, figures: set[str]) -> None:
    def beside(words: str) -> set[str]:
        columns = [Column(metric=metric, split="test", protocol="clean") for metric in ("top1", "ece")]
        record = run(f"data=cifar10 {words}")
        found = [figure for figure in FIGURES for column in columns if figure.fits(record, column)]
        axis = words.split("=")[0]
        return {figure.value for figure in found if axis in figure.setting}

    assert beside(same) == figures
    assert beside(other) == set()


def test_a_recipe_s_figures_stand_beside_its_runs(table: Table, runs: Path) -> None:
    for seed in (0, 1):
        tops = [score("top1", 0.94, protocol=protocol) for protocol in ("clean", "tta_flip_shift")]
        lay(runs, run(f"experiment=speed94 seed={seed}", *tops))
    assert table("--protocol", "tta_flip_shift").rows[0]["published"] == "94.01 [a]"
    assert "published" not in table().header, "they are of another protocol"


@pytest.mark.parametrize(
    ("words", "sgd"),
    [
        ((), {}),  # the runs are of no study
        (("--published", "none"), {}),
        (("--published", "wilson-2017"), {"92.35 ± 0.14": "Wilson"}),
        (("--published", "schmidt-2021,wilson-2017"), {"92.35 ± 0.14": "Wilson", "80.75 ± 0.39": "Schmidt"}),
        (("--published", "airbench94"), {}),  # a figure of another recipe
        (("--published", "mukhoti-2020"), {"95.05": "Mukhoti"}),  # every run here has cross-entropy
        (("--published", "mukhoti-2020", "--scores", "top1,ece"), {"95.05": "Mukhoti", "ece 4.35": "Mukhoti"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_command_chooses_the_figures(table: Table, runs: Path, words: tuple[str, ...], sgd: dict[str, str]) -> None:
    outcomes = {setting: [{"top1": top1, "ece": 0.1} for top1 in tops] for setting, tops in TWO.items()}
    lay_sweep(runs, outcomes)
    shown = table(*words)
    assert ("published" in shown.header) == bool(sgd)
    if sgd:
        assert cited(shown, "sgd") == sgd


def test_none_holds_for_a_study_as_well(table: Table, runs: Path) -> None:
    lay_sweep(runs, TWO, study="optimizers")
    assert "published" not in table("--published", "none").header


def test_a_file_of_one_s_own_takes_the_place_of_what_comes_along(
    table: Table, command: Callable[..., Said], runs: Path
) -> None:
    lay_sweep(runs, TWO, study="optimizers")
    Path("mine.toml").write_text(OWN)
    shown = table("--published", "mine.toml")
    assert [row["published"] for row in shown.rows] == ["75 [a]", "55.0 ± 1.50 [a]"]
    assert shown.note("[a] ") == "[a] Ours | 2031, 50 % & more_: CNN, digits, ten epochs; the protocol is the same."
    rows = of_csv(command("table", str(runs), "--published", "mine.toml", "--format", "csv")[1])
    assert {row["optimizer"]: row["published"] for row in rows} == {"adam": "75 (mine)", "sgd": "55.0 ± 1.50 (mine)"}


def test_a_setting_without_a_figure_has_none(table: Table, runs: Path) -> None:
    lay_sweep(runs, {**TWO, "data=cifar10 optimizer=muon": [0.1, 0.2]})
    assert table("--published", "wilson-2017").row("muon")["published"] == "–"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[[source]]", "[[sources]]"),
        ("[[source]]", "[source]"),
        ("[[source]]", "source = 3\n[x]"),
        ('citation = "', 'quotation = "'),
        ('model = "CNN"\n', ""),
        ('metric = "top1", value = "75"', 'metric = "top1"'),
        ('value = "75"', 'value = "high"'),
        ('value = "75"', 'value = "nan"'),
        ('value = "75"', 'value = ["75"]'),
        ('spread = "1.50"', 'spread = "wide"'),
        ('metric = "ece", ', ""),
        ('setting = { optimizer = "sgd" }', 'setting = "sgd"'),
        ('setting = { optimizer = "sgd" }', 'setting = { optimiser = "sgd" }'),
        ("matches = true", 'matches = "no"'),
        ("figures = [", "numbers = ["),
        ("[[source]]", "[[source"),
        ("[[source]]", "deep = " + "[" * 100_000 + "\n[[source]]"),
    ],
)
def test_a_file_that_is_none_of_figures_is_refused(
    command: Callable[..., Said], runs: Path, old: str, new: str
) -> None:
    lay_sweep(runs, TWO)
    assert OWN.count(old) >= 1
    Path("mine.toml").write_text(OWN.replace(old, new, 1))
    assert_refused(command, "mine.toml")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"\x00" * 100, None], ids=["empty", "UTF-16", "zeros", "absent"]
)
def test_a_file_without_figures_is_refused(command: Callable[..., Said], runs: Path, content: bytes | None) -> None:
    lay_sweep(runs, TWO)
    if content is not None:
        Path("mine.toml").write_bytes(content)
    assert_refused(command, "mine.toml")


def test_a_folder_is_no_file_of_figures(command: Callable[..., Said], runs: Path) -> None:
    lay_sweep(runs, TWO)
    Path("mine.toml").mkdir()
    assert_refused(command, "mine.toml")


def assert_refused(command: Callable[..., Said], name: str) -> None:
    code, out, err = command("table", "outputs", "--published", name)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"imgrec: {name} must be a file of published figures, got")
    assert err.endswith(f"take the form of {published.OWN}\n")
    assert len(err) < 500


def test_more_sources_than_letters_have_names_of_their_own(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6]})
    source = OWN.replace('"mine"', '"mine{0}"').replace("Ours", "Ours {0}").replace("{ ", "{{ ").replace(" }", " }}")
    Path("mine.toml").write_text("".join(source.format(k) for k in range(30)))
    shown = table("--published", "mine.toml")
    named = [cell.split(" [")[1] for cell in shown.rows[0]["published"].split("; ")]
    assert len(set(named)) == 30
    assert all(shown.note(f"[{letters} ").startswith(f"[{letters} Ours {k} ") for k, letters in enumerate(named))

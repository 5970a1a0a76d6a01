"""Test `imgrec train --help all`: every choice and key with its default; other words show a part of the page."""

import dataclasses
import re
import shlex
from collections.abc import Callable

import pytest
import yaml

from imgrec.config.compose import compose, expand, of_study
from imgrec.config.fields import default_of, help_of, ranges
from imgrec.config.folders import conf_dir
from imgrec.config.registry import components
from imgrec.config.root import GROUPS
from imgrec.config.schemas import choices, known_keys
from imgrec.config.yaml_files import LABELLED
from imgrec.errors import UsageError
from imgrec.help_page import help_page

PAGE = help_page(["all"])
ONE_LINE = re.sub(r"\n {3,}", " ", PAGE)  # wrapped lines joined again


@pytest.mark.parametrize("axis", ["experiment", "study", *GROUPS])
def test_every_choice_is_listed_with_the_first_line_of_its_file_or_docstring(axis: str) -> None:
    rows = dict(re.findall(rf"^  {axis}=(\w+) +(.*)$", ONE_LINE, re.MULTILINE))
    assert list(rows) == choices(axis)
    for name, text in rows.items():
        path = conf_dir() / axis / f"{name}.yaml"
        if path.is_file():
            first, second, *_ = path.read_text().splitlines()
            assert f"# {text}" == (second if "@package" in first else first)
        else:
            assert text == str(components(axis)[name].__doc__).strip().splitlines()[0]
        assert text.endswith((".", "?", ")")), "a sentence of its own"


def test_every_key_has_a_row() -> None:
    rows = re.findall(r"^  ([a-z0-9_.]+) {2,}\S", PAGE, re.MULTILINE)
    assert set(known_keys()) <= set(rows)
    assert {row for row in rows if "." in row or row == "seed"} <= set(known_keys())


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis in GROUPS for name in components(axis)])
def test_a_key_is_shown_with_the_help_and_the_default_of_each_choice_that_has_it(axis: str, name: str) -> None:
    """optimizer.lr is 0.1 in momentum and 0.001 in adam, so that one row for both would be wrong for one of them."""
    for field in dataclasses.fields(components(axis)[name]):
        if field.name == "name":
            continue
        own = []
        for row in re.findall(rf"^  {axis}\.{field.name} +(.*)$", ONE_LINE, re.MULTILINE):
            _, is_own, rest = row.partition(help_of(field))
            form = re.fullmatch(r"(?: \[([a-z0-9_, ]+)\])? \(([^()]*?)(?:; (.*))?\)", rest) if is_own else None
            if form is not None and (form[1] is None or name in form[1].split(", ")):
                own.append((form[2], form[3]))
        assert len(own) == 1
        shown, bounds = own[0]
        default, known = default_of(field), ranges(components(axis)[name]).get(field.name)
        assert shown == "required" if default == "???" else yaml.safe_load(shown) == pytest.approx(default)
        assert bounds == (None if known is None else str(known)) or (known is not None and known.among and not bounds)


def test_no_line_is_too_long_for_a_terminal_and_the_page_opens_with_the_usage() -> None:
    assert max(len(line) for line in PAGE.splitlines()) <= 120
    assert PAGE.startswith("Usage: imgrec train [-m] [key=value ...]\n")


_NEEDED = {
    "data=arrays": ["data.root=x.npz"],
    "data=folder": ["data.root=x"],
    "data=huggingface": ["data.root=x"],
    "loss=distillation": ["loss.teacher=/run", "loss.teacher_digest=0123456789abcdef"],
    "model=timm": ["model.architecture=resnet18"],
    "model=torchvision": ["model.architecture=resnet18"],
    "augment=growing": ["model=whitened_cnn"],
    "augment=speed": ["model=whitened_cnn"],
    "augment=speed96": ["model=whitened_cnn"],
    "optimizer=schedule_free": ["schedule=constant"],
    "sweep=tuned": ['sweep.tune=["optimizer.lr=1"]'],
}


def rows_of(page: str) -> dict[str, str]:
    """The explained keys and choices of a page."""
    return dict(re.findall(r"^  ([a-z0-9_.]+(?:=\w+)?) {2,}(\S.*)$", re.sub(r"\n {3,}", " ", page), re.MULTILINE))


def test_without_words_the_page_is_short_names_every_choice_and_says_how_to_see_the_rest() -> None:
    page = help_page()
    assert len(page.splitlines()) <= 60
    for axis in ("experiment", "study", *GROUPS):
        for name in choices(axis):
            assert re.search(rf"\b{name}\b", page), name
    for words in re.findall(r"imgrec train --help (\S+)", page):
        assert help_page([words])


@pytest.mark.parametrize("axis", GROUPS)
def test_an_axis_shows_its_choices_and_its_keys_alone(axis: str) -> None:
    rows = rows_of(help_page([axis]))
    assert {row.partition("=")[0].partition(".")[0] for row in rows} == {axis}
    assert {row.partition("=")[2] for row in rows if "=" in row} == set(choices(axis))
    assert {row for row in rows if "." in row} == {key for key in known_keys() if key.startswith(f"{axis}.")}


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis in GROUPS for name in choices(axis)])
def test_a_choice_shows_its_own_keys_with_what_each_is_there(axis: str, name: str) -> None:
    rows = rows_of(help_page([f"{axis}={name}"]))
    usual = [] if axis in ("data", "sweep", "trainer") else ["data=digits"]
    config = compose([*usual, f"{axis}={name}", *_NEEDED.get(f"{axis}={name}", [])])
    section = getattr(config, axis)
    fields = {field.name for field in dataclasses.fields(section)} - {"name"}
    assert {row.partition(".")[2] for row in rows if "." in row} == fields
    for field in fields - {"architecture", "root", "teacher", "teacher_digest", "tune"}:
        shown = re.search(r" \(([^();]*?)(; .*)?\)$", rows[f"{axis}.{field}"])
        assert shown is not None
        assert yaml.safe_load(shown[1]) == pytest.approx(getattr(section, field)), field


def test_a_recipe_and_a_study_show_what_they_stand_for() -> None:
    assert "    optimizer=adam\n" in help_page(["experiment=demo"])
    assert "    trainer.max_epochs=15\n" in help_page(["experiment=demo"])
    study = help_page(["study=digits"])
    assert "    optimizer=sgd,momentum,adam,adagrad\n" in study
    (words,) = re.findall(r"imgrec train --help (.*)", re.sub(r"\n {3,}", " ", study))
    assert "optimizer.nesterov" in help_page(words.split())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in LABELLED for name in choices(kind)])
@pytest.mark.long
def test_the_words_that_a_recipe_stands_for_make_its_runs(kind: str, name: str) -> None:
    page = help_page([f"{kind}={name}"])
    words = shlex.split(page.partition("It stands for:")[2].partition("Their keys")[0])
    whole = [f"{kind}={name}", *(of_study([f"{kind}={name}"]) or [])]
    made, asked = expand(words), expand([word for word in whole if kind == "experiment" or word != f"study={name}"])
    if kind == "experiment":
        assert dataclasses.replace(compose(words), experiment=name) == compose(asked[0])
        return
    assert len(made) == len(asked)
    for mine, of_file in ((made[0], asked[0]), (made[-1], asked[-1])):
        assert dataclasses.replace(compose(mine), study=name) == compose([f"study={name}", *of_file])


def test_a_key_shows_its_row_and_several_words_a_page_each() -> None:
    assert set(rows_of(help_page(["seed", "trainer.max_epochs=3"]))) == {"seed", "trainer.max_epochs"}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimzer", "did you mean optimizer?"),
        ("optimizer=adm", "did you mean optimizer=adam?"),
        ("qqq", "names the axes"),
    ],
)
def test_a_word_that_is_nothing_is_refused_with_the_nearest(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        help_page([word])


def test_the_words_stand_on_either_side_of_the_option(command: Callable[..., tuple[int, str, str]]) -> None:
    before, after = command("train", "optimizer=adam", "--help"), command("train", "--help", "optimizer=adam")
    assert before == after
    assert before[0] == 0
    assert "optimizer.beta1" in before[1]
    code, out, err = command("train", "--help", "optimizer=adm")
    assert (code, out) == (2, "")
    assert err.startswith("imgrec: optimizer must be one of ")

"""Write `imgrec train --help`: the choices and keys of the configuration, each with its explanation."""

import dataclasses
import shlex
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import yaml
from omegaconf import MISSING

from imgrec.config import folders, listed, outside, recipes
from imgrec.config.explain import unknown_choice
from imgrec.config.fields import default_of, help_of, nearest, ranges
from imgrec.config.listed import LISTS
from imgrec.config.recipes import Recipe
from imgrec.config.registry import components
from imgrec.config.root import GROUPS, SECTIONS, Config
from imgrec.config.schemas import choices, explanation, known_keys, written
from imgrec.config.yaml_files import LABELLED
from imgrec.errors import UsageError

_WIDTH = 110
_HEAD = """\
Usage: imgrec train [-m] [key=value ...]

  Train one run, or with -m every combination of the values given after commas.

    imgrec train experiment=demo                               handwritten digits, no network needed
    imgrec train experiment=article seed=1                     a recipe, one key changed
    imgrec train -m optimizer=sgd,adam,adagrad seed=0,1,2      nine runs
    imgrec train model=resnet18 augment=crop_flip trainer.max_epochs=30 optimizer.lr_scale=0.5
    imgrec train resume=outputs/default/RUN trainer.max_epochs=60 'resume_override=[trainer.max_epochs]'

  A run lies in outputs/<experiment>/<name>-<id>. Starting it again goes on where it was interrupted; when it is
  finished, its scores are printed. --cfg job prints the configuration and runs nothing.

  The runs of a sweep (-m, or study=, which needs no -m) lie in outputs/<study, or experiment>, or in hydra.sweep.dir.
  The same command goes on with what is left of it, a larger one runs what is new; finished runs are never touched.
  sweep.estimate=true says what a sweep costs (runs, hours, kWh, CO2), and runs nothing.
  trainer.fast_dev_run=true tries a run out: a few batches of everything, and nothing is recorded.
  --components FILE brings losses, networks and other parts of your own, and may be repeated; --config-dir DIR brings
  choices and recipes.
"""
_MORE = """\
More:

    imgrec train --help optimizer            the choices of an axis, explained, and their keys
    imgrec train --help optimizer=adam       the keys of a choice, and what they are there
    imgrec train --help experiment=demo      what a recipe or a study stands for
    imgrec train --help trainer.max_epochs   a key; with experiment=NAME before it, what it is there
    imgrec train --help all                  everything
"""
_AXES = ("experiment", "study", *GROUPS)


def help_page(words: Sequence[str] = ()) -> str:
    """Return the page for these words of a command.

    Args:
        words: Axes, choices (`optimizer=adam`), keys, or `all`. Beside a recipe or a study, choices and keys are shown
            with their values there. Without words, the page shows the form of a command, the names of all choices, and
            how to see the rest.

    Raises:
        UsageError: A word is none of these, or a recipe cannot be composed.
    """
    if not words:
        return _overview()
    if "all" in words:
        return _everything()
    asked = [word for word in dict.fromkeys(words) if not word.startswith("hydra.")]
    named = [word.split("=") for word in asked if word.partition("=")[0] in LABELLED and word.partition("=")[2]]
    there = recipes.find(*named[0]) if len(named) == 1 and named[0][1] in choices(named[0][0]) else None
    return "\n".join("\n".join(_page(word, there)) + "\n" for word in asked) or _overview()


def _overview() -> str:
    """Return the page without words, which fits on one or two screens."""
    lines = [_HEAD, "Choices:", ""]
    lines += [line for axis in _AXES for line in _line(f"{axis}=", ", ".join(choices(axis)))]
    lines += [line for axis, key in LISTS.items() for line in _line(f"{key}=[...]", ", ".join(choices(axis)))]
    return "\n".join([*lines, "", _MORE])


def _everything() -> str:
    """Return every choice and every key."""
    lines = [_HEAD, "Choices:", ""]
    lines += [line for axis in _AXES for line in _choices(axis)]
    lines += ["", "Keys:", "", *_root()]
    for axis in GROUPS:
        lines += ["", f"{axis}:", "", *_keys_of(axis)]
    for axis in LISTS:
        lines += ["", *_listed(axis)]
    return "\n".join(lines) + "\n"


def _page(word: str, there: Recipe | None) -> list[str]:
    """Return the explanation of one word, with the values in a recipe if there is one."""
    key, given, value = word.lstrip("+").partition("=")
    axis = key.partition(".")[0]
    if key in ("experiment", "study") and given:
        return [line for name in _names(key, value) for line in _recipe(key, name)]
    if key in GROUPS and given:
        return [line for name in _names(key, value) for line in _choice(key, name, there)]
    if key in _AXES:
        return [f"{key}:", "", *_choices(key), *(["", *_keys_of(key)] if key in GROUPS else [])]
    if key in LISTS:
        return [line for name in _names(key, value) for line in _component(key, name)] if given else _listed(key)
    if axis in LISTS and (name := key.split(".")[1]) in components(axis):
        return _component(axis, name)
    if there is not None and key in there.values:
        return _key_there(key, there)
    if axis in GROUPS and (rows := _keys_of(axis, only=key)):
        return rows
    if rows := _root(only=key):
        return rows
    known = [*_AXES, *LISTS, *known_keys(), "all"]
    guess = nearest(key, known)
    hint = f"did you mean {guess}?" if guess else "imgrec train --help names the axes"
    raise UsageError(f"--help explains an axis, a choice or a key, and {key} is none; {hint}")


def _names(axis: str, value: str) -> list[str]:
    """Return the names after the equals sign; several may be given as for a sweep, `a,b` or `choice(a,b)`."""
    names = value.removeprefix("choice(").removesuffix(")").split(",")
    for name in names:
        if name not in choices(axis):
            raise unknown_choice(axis, name)
    return names


def _choices(axis: str) -> list[str]:
    return [line for name in choices(axis) for line in _line(f"{axis}={name}", explanation(axis, name))]


def _choice(axis: str, name: str, there: Recipe | None) -> list[str]:
    """Return a choice with its keys and their values in that choice, or in a recipe that makes it."""
    schema, values = written(axis, name)
    if schema is None:
        raise UsageError(
            f"{folders.file_of(f'{axis}/{name}')} must name a component that is loaded; give --components FILE"
        )
    if there is not None and there.choices[axis] == name:
        values = {field.name: there.values[f"{axis}.{field.name}"] for field in schema.settings()}
    lines = [*_line(f"{axis}={name}", explanation(axis, name)), ""]
    for field in schema.settings():
        lines += _row_with(f"{axis}.{field.name}", schema, field, values.get(field.name, default_of(field)))
    return [*lines, ""]


def _key_there(key: str, there: Recipe) -> list[str]:
    """Return the row of a key with its value in a recipe."""
    axis, _, leaf = key.rpartition(".")
    schema = written(axis, there.choices[axis])[0] if axis in GROUPS else listed.schema_of(axis) if axis else Config
    fields = {field.name: field for field in dataclasses.fields(schema or Config)}
    return _row_with(key, schema or Config, fields[leaf], there.values[key])


def _row_with(key: str, schema: type, field: Any, value: Any) -> list[str]:
    """Return the row of a key with a value that need not be the default."""
    usual = default_of(field)
    elsewhere = f"; elsewhere {_shown(usual)}" if value != usual else ""
    return _line(key, f"{help_of(field)} ({_shown(value)}{elsewhere}{_bounds(schema, field)})")


def _listed(axis: str) -> list[str]:
    """Return the components that a list may name, with the settings of each."""
    lines = [*_wrapped(f"{LISTS[axis]}=[...] names any of these, in the order in which they come:"), ""]
    return [*lines, *(line for name in components(axis) for line in _component(axis, name))]


def _component(axis: str, name: str) -> list[str]:
    schema = components(axis)[name]
    rows = [line for field in schema.settings() for line in _row(f"{axis}.{name}.{field.name}", schema, field)]
    return [*_line(name, explanation(axis, name)), *rows]


def _recipe(kind: str, name: str) -> list[str]:
    """Return what a recipe or a study chooses and sets, in the form of a command."""
    found = recipes.find(kind, name)
    words = found.words()
    chosen = [word for word in words if word.partition("=")[0] in GROUPS]
    asked = " ".join([*outside.options(), "--help", f"{kind}={name}", *chosen])
    lines = [*_line(f"{kind}={name}", explanation(kind, name)), "", "  It stands for:", ""]
    lines += [f"    {shlex.quote(word)}" for word in words]
    return [*lines, "", *_wrapped(f"Their keys, as they are there: imgrec train {asked}" if chosen else ""), ""]


def _wrapped(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _root(*, only: str | None = None) -> list[str]:
    """Return the rows of keys without an axis, or of one of them."""
    fields = [field for field in dataclasses.fields(Config) if field.name not in SECTIONS]
    return [line for field in fields if only in (None, field.name) for line in _row(field.name, Config, field)]


def _keys_of(axis: str, *, only: str | None = None) -> list[str]:
    """Return the rows of an axis' keys, or of one of them. A key that not all choices have names those that do."""
    lines = []
    for key, variants in _keys(axis).items():
        for owners, schema, field in variants if only in (None, key) else []:
            note = "" if len(owners) == len(components(axis)) else f" [{', '.join(owners)}]"
            lines += _row(key, schema, field, note)
    return lines


def _keys(axis: str) -> dict[str, list[tuple[list[str], type, Any]]]:
    """Return every key of an axis with its variants: the choices that have it, the schema of one of them, the field."""
    found: dict[str, list[tuple[list[str], type, Any]]] = {}
    for name, schema in components(axis).items():
        for field in schema.settings():
            variants = found.setdefault(f"{axis}.{field.name}", [])
            for owners, other, known in variants:
                if _row("", other, known) == _row("", schema, field):
                    owners.append(name)
                    break
            else:
                variants.append(([name], schema, field))
    return found


def _row(key: str, schema: type, field: Any, note: str = "") -> list[str]:
    text = f"{help_of(field)}{note} ({_shown(default_of(field))}{_bounds(schema, field)})"
    return _line(key, text)


def _bounds(schema: type, field: Any) -> str:
    """Return the declared range of a field's values; empty where the explanation already lists the values."""
    known = ranges(schema).get(field.name)
    if known is None or (known.among and all(str(value) in help_of(field) for value in known.among)):
        return ""
    return f"; {known}"


def _line(key: str, text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent=f"  {key:<30}  ", subsequent_indent=" " * 34)


def _shown(default: Any) -> str:
    """Return the default as YAML writes it."""
    if default == MISSING:
        return "required"
    return str(yaml.safe_dump(default, default_flow_style=True, width=float("inf"))).splitlines()[0]

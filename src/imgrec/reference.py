"""`imgrec train --help`: every choice and every key of the configuration, with its line of explanation."""

import dataclasses
from textwrap import wrap
from typing import Any

import yaml
from omegaconf import MISSING

from imgrec.config.fields import default_of, help_of
from imgrec.config.root import GROUPS, Config
from imgrec.config.schemas import SCHEMAS, choices, explanation

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
"""


def reference() -> str:
    """The whole page."""
    lines = [_HEAD, "Choices:", ""]
    for axis in ("experiment", "study", *GROUPS):
        for name in choices(axis):
            lines += _line(f"{axis}={name}", explanation(axis, name))
    lines += ["", "Keys:", ""]
    lines += [
        line for field in dataclasses.fields(Config) if field.name not in GROUPS for line in _row(field.name, field)
    ]
    for axis in GROUPS:
        lines += ["", f"{axis}:", ""]
        for key, variants in _keys(axis).items():
            for owners, field in variants:
                note = "" if len(owners) == len(SCHEMAS[axis]) else f" [{', '.join(owners)}]"
                lines += _row(key, field, note)
    return "\n".join(lines) + "\n"


def _keys(axis: str) -> dict[str, list[tuple[list[str], Any]]]:
    """Every key of an axis, with a variant for each default and explanation: the choices that have it, its field."""
    found: dict[str, list[tuple[list[str], Any]]] = {}
    for name, schema in SCHEMAS[axis].items():
        for field in dataclasses.fields(schema):
            if field.name == "name":
                continue
            variants = found.setdefault(f"{axis}.{field.name}", [])
            for owners, known in variants:
                if (help_of(known), default_of(known)) == (help_of(field), default_of(field)):
                    owners.append(name)
                    break
            else:
                variants.append(([name], field))
    return found


def _row(key: str, field: Any, note: str = "") -> list[str]:
    text = f"{help_of(field)}{note} ({_shown(default_of(field))})"
    return _line(key, text)


def _line(key: str, text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent=f"  {key:<32}", subsequent_indent=" " * 34)


def _shown(default: Any) -> str:
    """The default as YAML writes it."""
    if default == MISSING:
        return "required"
    return str(yaml.safe_dump(default, default_flow_style=True)).splitlines()[0]

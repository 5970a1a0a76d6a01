"""Find what a recipe or a study chooses and sets, as Hydra composes it, and write that as the words of a command."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from imgrec.config import folders
from imgrec.config.compose import compose_raw, composed_choices
from imgrec.config.fields import default_of
from imgrec.config.listed import LISTS
from imgrec.config.overrides import parsed, quoted
from imgrec.config.registry import components
from imgrec.config.root import GROUPS, SECTIONS, Config
from imgrec.config.schemas import settings
from imgrec.config.yaml_files import LABELLED
from imgrec.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a recipe or a study stands for.

    Attributes:
        kind: `experiment` or `study`.
        name: Its name.
        choices: The choice of each axis.
        values: The value of each dotted key.
        swept: The values that a study gives keys and axes, as texts in Hydra's grammar.
    """

    kind: str
    name: str
    choices: Mapping[str, str]
    values: Mapping[str, Any]
    swept: Mapping[str, str]

    def words(self) -> list[str]:
        """Return the words of a command that asks for the same, without what every run has."""
        usual, own = composed_choices([]), set(_dotted(folders.rows_of(f"{self.kind}/{self.name}")))
        found = [
            f"{axis}={name}"
            for axis, name in self.choices.items()
            if axis not in self.swept and (name != usual[axis] or axis in own)
        ]
        before = _usual(self.choices)
        for key, value in self.values.items():
            differs = key in before and value != before[key]
            if key not in self.swept and value != "???" and (differs or key in own):
                found.append(f"{key}={_text(value)}")
        return [*found, *(f"{key}={value}" for key, value in self.swept.items())]


def find(kind: str, name: str) -> Recipe:
    """Return what a recipe or a study stands for.

    Raises:
        UsageError: Its file, or one that it names, cannot be composed.
    """
    word = f"{kind}={name}"
    raw: Any = OmegaConf.to_container(compose_raw([word]))
    params = (folders.rows_of(word.replace("=", "/")).get("hydra") or {}).get("sweeper", {}).get("params") or {}
    values = {key: value for key, value in _dotted(raw, nested=True).items() if key not in LABELLED}
    return Recipe(
        kind=kind,
        name=name,
        choices=composed_choices([word]),
        values={key: value for key, value in values.items() if not key.endswith(".name")},
        swept={str(key): str(value) for key, value in params.items()},
    )


def _dotted(rows: Mapping[str, Any], prefix: str = "", *, nested: bool = False) -> dict[str, Any]:
    """Return the values by dotted keys; the axes that `defaults` chooses count as keys unless `nested`."""
    found: dict[str, Any] = {}
    for key, value in rows.items():
        if isinstance(value, Mapping) and (prefix or key in SECTIONS):
            found |= _dotted(value, f"{prefix}{key}.")
        elif key == "defaults" and not prefix and not nested:
            found |= dict.fromkeys(_axes_of(value))
        elif key != "hydra":
            found[f"{prefix}{key}"] = value
    return found


def _axes_of(defaults: Any) -> Iterator[str]:
    for item in defaults:
        yield from (str(key).split("/")[-1] for key in item) if isinstance(item, dict) else ()


def _usual(choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the keys where a command only makes these choices."""
    found = {field.name: default_of(field) for field in dataclasses.fields(Config) if field.name not in SECTIONS}
    for axis in GROUPS:
        found |= {f"{axis}.{key}": value for key, value in settings(axis, choices[axis]).items()}
    for axis in LISTS:
        for name, schema in components(axis).items():
            found |= {f"{axis}.{name}.{field.name}": default_of(field) for field in schema.settings()}
    return found


def _text(value: Any) -> str:
    """Return the value in Hydra's grammar."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return str(value)
    try:
        (override,) = parsed([f"x=[{value}]"])
        return value if override.value() == [value] else quoted(value)
    except UsageError:
        return quoted(value)

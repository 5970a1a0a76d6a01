"""Find the origins of components from outside of imgrec, and check whether their code has changed since a run."""

import dataclasses
import hashlib
import inspect
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from imgrec import syntax
from imgrec.config import registry
from imgrec.config.component import Component
from imgrec.config.fields import default_of, is_identity
from imgrec.config.listed import LISTS
from imgrec.config.root import GROUPS, Config
from imgrec.errors import UsageError, shown

CODE = "outside"  # prefix of the digests of such components among those of a run's modules
OF_SCORES = ("data", "model", "loss")
"""The axes whose code decides how trained weights are scored; that of the protocol counts besides."""
VARIABLE = "IMGREC_COMPONENTS"
_DIGITS = 12  # hexadecimal digits of a digest, as in `codebase`


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose components are loaded.

    Attributes:
        path: The file's path.
        sha256: The SHA-256 of the loaded bytes.
        tree: The digest of the syntax tree.
    """

    path: str
    sha256: str
    tree: str = ""


files: dict[str, File] = {}  # by the name of the module that was created from the file
distributions: dict[str, str] = {}  # by module: name and version of the distribution whose entry point loaded it


def used(config: Config) -> dict[str, dict[str, Any]]:
    """Return what records and checkpoints store of the outside components of a configuration, by `axis=name`.

    Returns:
        For each component: the result of `origin_of`; `defaults` of its keys; `outside_identity`, the keys that are no
        part of a run's identity; `gives_probabilities` of a loss; `observes` of a callback.
    """
    found = {}
    for section in _components_of(config):
        axis = section.axis
        if (origin := origin_of(type(section))) is None:
            continue
        fields = section.settings()
        row: dict[str, Any] = {
            **origin,
            "defaults": {field.name: value for field in fields if (value := default_of(field)) != MISSING},
            "outside_identity": [field.name for field in fields if not is_identity(field)],
        }
        if axis == "loss":
            row["gives_probabilities"] = bool(getattr(section, "gives_probabilities", True))
        if axis == "callback":
            row["observes"] = bool(getattr(section, "observes", False))
        found[f"{axis}={section.name}"] = row
    return found


def _components_of(config: Config) -> Iterator[Component]:
    """Yield every component of a configuration."""
    yield from (getattr(config, axis) for axis in GROUPS)
    for axis in LISTS:
        yield from getattr(config, axis).values()


def origin_of(component: type) -> dict[str, str] | None:
    """Return the origin of a component; None for one of imgrec's own.

    Returns:
        `distribution` (name and version) or `file`, with `sha256` of the source and `tree`, the digest of its syntax
        tree without docstrings. Both digests are empty where there is no source, as in `python -c`.
    """
    module = component.__module__
    if module.partition(".")[0] == "imgrec":
        return None
    if module in files:
        file = files[module]
        return {"file": Path(file.path).name, "sha256": file.sha256, "tree": file.tree}
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        source = Path(path).read_bytes() if path else _source_of(component)
    except (OSError, TypeError):
        source = b""
    place = {"distribution": distributions[module]} if module in distributions else {"file": Path(path or module).name}
    return {**place, **digests_of(source)}


def _source_of(component: type) -> bytes:
    """Return the source of a class without a file: the sources of its methods, and its defaults.

    Raises:
        OSError: The methods have no source.
    """
    made = vars(dataclasses.make_dataclass("Made", [])).keys()  # the methods that every dataclass gets have no source
    own = [part for name, part in vars(component).items() if inspect.isfunction(part) and name not in made]
    methods = [inspect.getsource(part) for part in own]
    if not methods:
        raise OSError("no source")
    fields = [(field.name, repr(default_of(field))) for field in dataclasses.fields(component)]
    return "".join([*map(textwrap.dedent, methods), repr(fields)]).encode()


def of_program(config: Config) -> list[str]:
    """Return the components, as `axis=name`, that the running program defines, and other processes therefore lack."""
    return [
        f"{section.axis}={section.name}"
        for section in _components_of(config)
        if origin_of(type(section)) is not None
        and type(section).__module__ not in files
        and type(section).__module__ not in distributions
    ]


def code(components: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the digests of outside components, in the form of `codebase.Code`.

    Args:
        components: The components as `used` returns them.
    """
    return {f"{CODE}.{key.replace('=', '.')}": " ".join(_digests(row)) for key, row in components.items()}


def _digests(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return short digests of a component's source and tree; with those of a package goes its version."""
    found = [str(row[key]) for key in ("sha256", "tree")]
    if "distribution" in row:
        found = [hashlib.sha256(f"{part} {row['distribution']}".encode()).hexdigest() if part else "" for part in found]
    return found[0][:_DIGITS], found[1][:_DIGITS]


def changed(digests: Mapping[str, str]) -> list[str]:
    """Return the names among these digests, as `code` returns them, whose components have changed or are missing."""
    found = []
    for name, then in digests.items():
        axis, _, component = name.removeprefix(f"{CODE}.").partition(".")
        known = registry.components(axis).get(component)
        origin = origin_of(known) if known is not None else None
        now = ("", "") if origin is None else _digests(origin)
        if not any(one and one == other for one, other in zip(then.split(" "), now, strict=False)):
            found.append(name)
    return found


def missing(components: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the components, as `axis=name`, that are not loaded.

    Args:
        components: The components as `used` returned them.
    """
    return [key for key in components if _loaded(key) is None]


def refuse_missing(components: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Refuse to continue if a component is not loaded.

    Args:
        components: The components as `used` returned them.
        what: The run's folder or the checkpoint that was made with them, for the error message.

    Raises:
        UsageError: A component is not loaded.
    """
    if lacking := {key: components[key] for key in missing(components)}:
        raise UsageError(f"{what} was made with {_listed(lacking)} not loaded; {_way_to_load(lacking)}")


def refuse_other(components: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Refuse to continue if a component is missing or differs from the one that was used before.

    Changes of comments and blank lines do not count. A component without a known source counts as unchanged.

    Args:
        components: The components as `used` returned them.
        what: The run's folder or the checkpoint that was made with them, for the error message.

    Raises:
        UsageError: A component is not loaded, or its code or the version of its package is another.
    """
    refuse_missing(components, what)
    for key, row in components.items():
        known = _loaded(key)
        now = None if known is None else origin_of(known)
        same = now is not None and row.get("distribution") == now.get("distribution")
        if not same or (row.get("sha256") and not _is_same(row, now or {})):
            this = "imgrec itself" if now is None else _described(now)
            raise UsageError(
                f"{what} was made with {key} of {_described(row)}, and {key} is now that of {this}; restore it, or"
                " train anew"
            )


def _loaded(key: str) -> type[Component] | None:
    """Return the component that is registered as this `axis=name`."""
    axis, _, name = key.partition("=")
    return registry.components(axis).get(name)


def _listed(components: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the components in words, those of one file or package together."""
    by_place: dict[str, list[str]] = {}
    for key, row in components.items():
        by_place.setdefault(_described(row), []).append(key)
    found = [f"{' and '.join(keys)} of {place}" for place, keys in by_place.items()]
    verb = "is" if len(components) == 1 else "are"
    return f"{', and with '.join(found)}, which {verb}"


def _way_to_load(components: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the advice that names every file and package that these components need."""
    packages = list(dict.fromkeys(str(row["distribution"]) for row in components.values() if "distribution" in row))
    files = list(dict.fromkeys(str(row["file"]) for row in components.values() if "distribution" not in row))
    ways = [f"install {' and '.join(packages)}"] if packages else []
    if files:
        options = " ".join(f"--components {shlex.quote(file)}" for file in files)
        ways.append(f"give {options}, or put {'it' if len(files) == 1 else 'them'} into {VARIABLE}")
    return ", and ".join(ways)


def _described(row: Mapping[str, Any]) -> str:
    digest = str(row.get("sha256", ""))[:_DIGITS]
    place = row["distribution"] if "distribution" in row else shown(str(row["file"]))
    return f"{place} (SHA-256 {digest or 'unknown'})"


def _is_same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return True if the sources or their syntax trees are equal; False if one of them is unknown."""
    pairs = [(str(row.get(key, ""))[:_DIGITS], str(other.get(key, ""))[:_DIGITS]) for key in ("sha256", "tree")]
    return any(one and one == another for one, another in pairs)


def digests_of(source: bytes) -> dict[str, str]:
    """Return `sha256` of a source, and `tree`, the digest of its syntax tree; both empty for an empty source."""
    if not source:
        return {"sha256": "", "tree": ""}
    try:
        tree = hashlib.sha256(syntax.normal_form(syntax.parse(textwrap.dedent(source.decode()).encode()))).hexdigest()
    except (SyntaxError, ValueError):
        tree = ""
    return {"sha256": hashlib.sha256(source).hexdigest(), "tree": tree}

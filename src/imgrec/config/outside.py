"""Components from outside of imgrec: of installed packages, and of files that the command or the environment names.

A configuration, a record and a checkpoint pick names alone. Nothing in them makes a process load code.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from imgrec.config import registry
from imgrec.config.component import Component
from imgrec.config.data import Data
from imgrec.config.fields import default_of, is_identity
from imgrec.config.launcher import Launcher
from imgrec.config.loss import Loss
from imgrec.config.model import Model
from imgrec.config.optimizer import Optimizer
from imgrec.config.root import GROUPS, Config
from imgrec.config.schedule import Schedule
from imgrec.config.schemas import conf_dir
from imgrec.errors import UsageError, shown

KINDS: Mapping[str, type[Component]] = {kind.axis: kind for kind in (Data, Loss, Model, Optimizer, Schedule, Launcher)}
"""The axes that take components from outside, each with the class that they derive from."""
VARIABLE = "IMGREC_COMPONENTS"
GROUP = "imgrec.components"  # of entry points
CODE = "outside"  # what the digests of such components begin with among those of the modules of a run
_DIGITS = 12  # hexadecimal digits of a digest, as in `codebase`


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose components are loaded. sha256: of its bytes then."""

    path: str
    sha256: str


_files: dict[str, File] = {}  # by the name of the module that was made of it
_distributions: dict[str, str] = {}  # by module: name and version of the distribution whose entry point loaded it


def load(files: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Register the components of these files, of those in $IMGREC_COMPONENTS, and of installed packages.

    A file is Python code, and runs. What is loaded already is not loaded again.

    Raises:
        UsageError: A file cannot be read or run, registers nothing, has changed since this process loaded it, or gives
            a component a name that is taken.
    """
    _load_installed(tuple(sys.path))
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        _load_file(Path(name), VARIABLE)
    for file in files:
        _load_file(Path(file), "--components")


def load_files(files: Sequence[File]) -> None:
    """As `load`, of files with these very contents: what a job carries. Raises UsageError for other contents."""
    _load_installed(tuple(sys.path))
    for file in files:
        _load_file(Path(file.path), "the job's components", sha256=file.sha256)


def loaded() -> list[File]:
    """The files whose components are loaded."""
    return list(_files.values())


def used(config: Config) -> dict[str, dict[str, Any]]:
    """What records and checkpoints keep of the outside components of a configuration, by `axis=name`.

    Returns:
        For each: `distribution`, or `file` and `sha256`; `defaults` of its keys; `outside_identity`, the keys that are
        no part of what a run is; `gives_probabilities`, of a loss.
    """
    found = {}
    for axis in GROUPS:
        section = getattr(config, axis)
        if (origin := origin_of(type(section))) is None:
            continue
        fields = [field for field in dataclasses.fields(section) if field.name != "name"]
        row: dict[str, Any] = {
            **origin,
            "defaults": {field.name: value for field in fields if (value := default_of(field)) != MISSING},
            "outside_identity": [field.name for field in fields if not is_identity(field)],
        }
        if axis == "loss":
            row["gives_probabilities"] = bool(section.gives_probabilities)
        found[f"{axis}={section.name}"] = row
    return found


def origin_of(component: type) -> dict[str, str] | None:
    """Where a component comes from: `distribution`, or `file` and `sha256`; None for one of imgrec's own."""
    module = component.__module__
    if module.partition(".")[0] == "imgrec":
        return None
    if module in _files:
        return {"file": Path(_files[module].path).name, "sha256": _files[module].sha256}
    if module in _distributions:
        return {"distribution": _distributions[module]}
    source = getattr(sys.modules.get(module), "__file__", None)  # registered by a program that imports imgrec
    if source is None or not Path(source).is_file():
        return {"file": module, "sha256": ""}  # a notebook
    return {"file": Path(source).name, "sha256": hashlib.sha256(Path(source).read_bytes()).hexdigest()}


def code(components: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digests of outside components, in the form of `codebase.Code`. components: as `used` gives them."""
    return {f"{CODE}.{key.replace('=', '.')}": _digests(row) for key, row in components.items()}


def changed(digests: Mapping[str, str]) -> list[str]:
    """The names among these digests that are other components now, or none."""
    found = []
    for name, then in digests.items():
        _, axis, component = name.split(".", 2)
        known = registry.components(axis).get(component)
        origin = origin_of(known) if known is not None else None
        if origin is None or _digests(origin) != then:
            found.append(name)
    return found


def refuse_other(components: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Refuse to work with other components than those that something was made with, or without them.

    Args:
        components: As `used` gave them.
        what: What was made with them: a run's folder or a checkpoint, for the refusal.

    Raises:
        UsageError: One of them is not loaded, or its file or version is another.
    """
    for key, row in components.items():
        axis, _, name = key.partition("=")
        known = registry.components(axis).get(name)
        then, now = _told(row), None if known is None else origin_of(known)
        if "distribution" in row:
            way_out = f"install {row['distribution']}"
        else:
            way_out = f"give --components {shown(str(row.get('file')))}, or put it into {VARIABLE}"
        if known is None:
            raise UsageError(f"{what} was made with {key} of {then}, which is not loaded; {way_out}")
        if now is None or _digests(now) != _digests(row):
            this = "imgrec itself" if now is None else _told(now)
            raise UsageError(f"{what} was made with {key} of {then}, and {key} is now that of {this}; restore it")


def _told(row: Mapping[str, Any]) -> str:
    if "distribution" in row:
        return str(row["distribution"])
    digest = str(row.get("sha256", ""))[:_DIGITS]
    return f"{shown(str(row.get('file')))} (SHA-256 {digest or 'unknown'})"


def _digests(row: Mapping[str, Any]) -> str:
    digest = str(row.get("sha256", ""))[:_DIGITS]
    if "distribution" in row:
        digest = hashlib.sha256(str(row["distribution"]).encode()).hexdigest()[:_DIGITS]
    return f"{digest} {digest}"


@functools.cache
def _load_installed(path: tuple[str, ...]) -> None:
    """Load what installed packages name under the entry point. path: where Python looks for them."""
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        where = f"the package {point.dist.name if point.dist else point.value}"
        before = set(_all())
        _run(point, where)
        for component in set(_all()) - before:
            if point.dist is not None:
                _distributions[component.__module__] = f"{point.dist.name} {point.dist.version}"


def _load_file(path: Path, source: str, *, sha256: str | None = None) -> None:
    where = f"{source} {shown(path)}"
    try:
        path = path.expanduser().resolve()
        content = path.read_bytes()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{where} must be a file of Python code, got: {reason}; name one") from error
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise UsageError(f"{where} has changed since the job was made; start the command again")
    for known in _files.values():
        if known.path == str(path):
            if known.sha256 != digest:
                raise UsageError(f"{where} has changed since this process loaded it; start the command again")
            return
    name = f"imgrec_components_{path.stem}_{digest[:_DIGITS]}"
    before = set(_all())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise UsageError(f"{where} must be a file of Python code, and its name must end with .py; rename it")
    _files[name] = File(str(path), digest)
    try:
        _run((spec, content), where)
        if not set(_all()) - before:
            raise UsageError(f"{where} registers no component; put @register(axis, name) before a class")
    except BaseException:
        del _files[name]
        sys.modules.pop(name, None)
        raise


def _run(code: EntryPoint | tuple[ModuleSpec, bytes], where: str) -> None:
    """Run code that registers components. Raises UsageError with the reason where it cannot be run."""
    before = set(_all())
    try:
        if isinstance(code, EntryPoint):
            code.load()
        else:
            spec, content = code
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            exec(compile(content, str(spec.origin), "exec"), module.__dict__)
        for component in set(_all()) - before:
            _check(component)
    except Exception as error:
        registry.forget(set(_all()) - before)
        reason = " ".join(str(error).split())
        kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        raise UsageError(f"{where} cannot be loaded: {kind}{reason}; mend it") from error


def _check(component: type[Component]) -> None:
    """Refuse a component that no configuration could pick. Raises UsageError."""
    axis, name = component.axis, component.name
    told = f"@register({axis!r}, {name!r})"
    base = KINDS.get(axis)
    if base is None:
        raise UsageError(f"{told} must name one of {', '.join(KINDS)}")
    if not issubclass(component, base):
        raise UsageError(f"{told} must stand before a class that derives from {base.__name__}")
    if not name.isidentifier():
        raise UsageError(f"{told} must give a name of letters, digits and underscores")
    if (conf_dir() / axis / f"{name}.yaml").is_file():
        raise UsageError(f"{told} must give a name that is free, and conf/{axis}/{name}.yaml has it")


def _all() -> Iterator[type[Component]]:
    for axis in GROUPS:
        yield from registry.components(axis).values()

"""Components from outside of imgrec: of installed packages, and of files that the command or the environment names.

A configuration, a record and a checkpoint pick names alone. Nothing in them makes a process load code.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import logging
import os
import shlex
import sys
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from imgrec import syntax
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

log = logging.getLogger(__name__)

KINDS: Mapping[str, type[Component]] = {kind.axis: kind for kind in (Data, Loss, Model, Optimizer, Schedule, Launcher)}
"""The axes that take components from outside, each with the class that they derive from."""
_METHODS = {"schedule": "after_warmup", "data": "load"}  # what a class of the axis must define, instead of `build`
_PLAIN = ("int", "float", "bool", "str")
_TYPES = (*_PLAIN, *(f"{kind} | None" for kind in _PLAIN), *(f"list[{kind}]" for kind in _PLAIN))
VARIABLE = "IMGREC_COMPONENTS"
GROUP = "imgrec.components"  # of entry points
CODE = "outside"  # what the digests of such components begin with among those of the modules of a run
_DIGITS = 12  # hexadecimal digits of a digest, as in `codebase`


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose components are loaded. sha256: of its bytes then. tree: the digest of its syntax tree."""

    path: str
    sha256: str
    tree: str = ""


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
    _load_named(os.environ.get(VARIABLE, ""))
    for file in files:
        if not os.fspath(file):
            raise UsageError("--components must name a file of Python code, got ''; give one, or leave it out")
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
        For each: what `origin_of` tells; `defaults` of its keys; `outside_identity`, the keys that are no part of what
        a run is; `gives_probabilities`, of a loss.
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
    """Where a component comes from; None for one of imgrec's own.

    Returns:
        `distribution` (name and version) or `file`, with `sha256` of the source and `tree`, the digest of its syntax
        tree without docstrings. Both are empty where there is no source, as in `python -c`.
    """
    module = component.__module__
    if module.partition(".")[0] == "imgrec":
        return None
    if module in _files:
        file = _files[module]
        return {"file": Path(file.path).name, "sha256": file.sha256, "tree": file.tree}
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        source = Path(path).read_bytes() if path else _source_of(component)
    except (OSError, TypeError):
        source = b""
    place = (
        {"distribution": _distributions[module]} if module in _distributions else {"file": Path(path or module).name}
    )
    return {**place, **_digests_of(source)}


def _source_of(component: type) -> bytes:
    """What a class in no file is made of: the sources of its methods, and its defaults. Raises OSError without them."""
    made = vars(dataclasses.make_dataclass("Made", [])).keys()  # the methods that every dataclass gets have no source
    own = [part for name, part in vars(component).items() if inspect.isfunction(part) and name not in made]
    methods = [inspect.getsource(part) for part in own]
    if not methods:
        raise OSError("no source")
    fields = [(field.name, repr(default_of(field))) for field in dataclasses.fields(component)]
    return "".join([*map(textwrap.dedent, methods), repr(fields)]).encode()


def of_program(config: Config) -> list[str]:
    """The components of a configuration, as `axis=name`, that a program defines, so that no other process has them."""
    sections = [getattr(config, axis) for axis in GROUPS]
    return [
        f"{section.axis}={section.name}"
        for section in sections
        if origin_of(type(section)) is not None
        and type(section).__module__ not in _files
        and type(section).__module__ not in _distributions
    ]


def code(components: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The digests of outside components, in the form of `codebase.Code`. components: as `used` gives them."""
    return {
        f"{CODE}.{key.replace('=', '.')}": f"{row['sha256'][:_DIGITS]} {row['tree'][:_DIGITS]}"
        for key, row in components.items()
    }


def changed(digests: Mapping[str, str]) -> list[str]:
    """The names among these digests, as `code` gives them, that are other components now, or none."""
    found = []
    for name, then in digests.items():
        axis, _, component = name.removeprefix(f"{CODE}.").partition(".")
        known = registry.components(axis).get(component)
        origin = origin_of(known) if known is not None else None
        sha256, _, tree = then.partition(" ")
        if origin is None or not _is_same({"sha256": sha256, "tree": tree}, origin):
            found.append(name)
    return found


def refuse_other(components: Mapping[str, Mapping[str, Any]], what: str) -> None:
    """Refuse to work with other components than those that something was made with, or without them.

    Comments and blank lines make no other component. One whose source was unknown is taken for the same.

    Args:
        components: As `used` gave them.
        what: What was made with them: a run's folder or a checkpoint, for the refusal.

    Raises:
        UsageError: One of them is not loaded, or its code or its package's version is another.
    """
    for key, row in components.items():
        axis, _, name = key.partition("=")
        known = registry.components(axis).get(name)
        then, now = _told(row), None if known is None else origin_of(known)
        if known is None:
            if "distribution" in row:
                way_out = f"install {row['distribution']}"
            else:
                way_out = f"give --components {shlex.quote(str(row['file']))}, or put it into {VARIABLE}"
            raise UsageError(f"{what} was made with {key} of {then}, which is not loaded; {way_out}")
        same = now is not None and row.get("distribution") == now.get("distribution")
        if not same or (row.get("sha256") and not _is_same(row, now or {})):
            this = "imgrec itself" if now is None else _told(now)
            raise UsageError(f"{what} was made with {key} of {then}, and {key} is now that of {this}; restore it")


def _told(row: Mapping[str, Any]) -> str:
    digest = str(row.get("sha256", ""))[:_DIGITS]
    place = row["distribution"] if "distribution" in row else shown(str(row["file"]))
    return f"{place} (SHA-256 {digest or 'unknown'})"


def _is_same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True for the same source, or another one of the same syntax tree; False where either is unknown."""
    pairs = [(str(row.get(key, ""))[:_DIGITS], str(other.get(key, ""))[:_DIGITS]) for key in ("sha256", "tree")]
    return any(one and one == another for one, another in pairs)


def _digests_of(source: bytes) -> dict[str, str]:
    if not source:
        return {"sha256": "", "tree": ""}
    try:
        tree = hashlib.sha256(syntax.normal_form(syntax.parse(textwrap.dedent(source.decode()).encode()))).hexdigest()
    except (SyntaxError, ValueError):
        tree = ""
    return {"sha256": hashlib.sha256(source).hexdigest(), "tree": tree}


@functools.cache  # a program may go to another folder, where a relative path would lead elsewhere
def _load_named(value: str) -> None:
    for name in filter(None, value.split(os.pathsep)):
        _load_file(Path(name), VARIABLE)


@functools.cache
def _load_installed(path: tuple[str, ...]) -> None:
    """Load what installed packages name under the entry point. path: where Python looks for them.

    A package that cannot be loaded is told of; its components are then unknown names.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        where = f"the package {point.dist.name if point.dist else point.value}"
        before = set(_all())
        try:
            _run(point, where)
        except UsageError as error:
            log.warning("%s", error)
            continue
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
    name = f"{registry.FILES}{path.stem}_{digest[:_DIGITS]}"
    before = set(_all())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise UsageError(f"{where} must be a file of Python code, and its name must end with .py; rename it")
    _files[name] = File(str(path), digest, _digests_of(content)["tree"])
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
        way_out = "" if ";" in reason else "; mend it"
        raise UsageError(f"{where} cannot be loaded: {kind}{reason}{way_out}") from error


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
    if not component.__doc__ or component.__doc__.startswith(f"{component.__name__}("):  # as dataclasses make one
        raise UsageError(f"{told} must stand before a class with a docstring, whose first line --help shows")
    method = _METHODS.get(axis, "build")
    if getattr(component, method) is getattr(base, method):
        raise UsageError(f"{told} must stand before a class that defines {method}()")
    for field in dataclasses.fields(component):
        if field.name != "name" and "help" not in field.metadata:
            raise UsageError(f"{told}: {field.name} must be a setting; write {field.name} = setting(DEFAULT, 'HELP')")
        kind = str(typing.get_type_hints(component)[field.name]).removeprefix("<class '").removesuffix("'>")
        if kind not in _TYPES:
            raise UsageError(f"{told}: {field.name} must be one of {', '.join(_TYPES)}, got {kind}")


def _all() -> Iterator[type[Component]]:
    for axis in GROUPS:
        yield from registry.components(axis).values()

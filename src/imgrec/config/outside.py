"""Load components from outside of imgrec: from installed packages, and files that the command or environment names.

A configuration, a record and a checkpoint contain only names of components. They never make a process load code.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import logging
import os
import shlex
import sys
import traceback
import typing
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from imgrec.config import folders, origins, registry
from imgrec.config.callback import Callback
from imgrec.config.component import Component
from imgrec.config.data import Data
from imgrec.config.launcher import Launcher
from imgrec.config.logger import Logger
from imgrec.config.loss import Loss
from imgrec.config.model import Model
from imgrec.config.optimizer import Optimizer
from imgrec.config.protocol import Protocol
from imgrec.config.root import SECTIONS
from imgrec.config.schedule import Schedule
from imgrec.errors import RefusalError, UsageError, shown

log = logging.getLogger(__name__)

KINDS: Mapping[str, type[Component]] = {
    kind.axis: kind for kind in (Data, Loss, Model, Optimizer, Schedule, Launcher, Protocol, Callback, Logger)
}
"""The axes that take components from outside, each with its base class."""
_PLAIN = ("int", "float", "bool", "str")
_TYPES = (*_PLAIN, *(f"{kind} | None" for kind in _PLAIN), *(f"list[{kind}]" for kind in _PLAIN))
GROUP = "imgrec.components"  # of entry points


def load(files: Sequence[str | os.PathLike[str]] = ()) -> None:
    """Register the components of these files, of the files in $IMGREC_COMPONENTS, and of installed packages.

    A file is Python code, which is executed. A file that is already loaded is not loaded again.

    Raises:
        UsageError: A file cannot be read or executed, registers nothing, has changed since this process loaded it, or
            uses a name that is taken.
    """
    _load_installed(tuple(sys.path))
    _load_named(os.environ.get(origins.VARIABLE, ""))
    for file in files:
        if not os.fspath(file):
            raise UsageError("--components must name a file of Python code, got ''; give one, or leave it out")
        _load_file(Path(file), "--components")


def load_files(files: Sequence[origins.File]) -> None:
    """Register the components of the files of a job, as `load` does.

    Raises:
        UsageError: As in `load`, and if the contents of a file have changed.
    """
    _load_installed(tuple(sys.path))
    for file in files:
        _load_file(Path(file.path), "the job's components", sha256=file.sha256)


def loaded() -> list[origins.File]:
    """Return the files whose components are loaded."""
    return list(origins.files.values())


def options() -> list[str]:
    """Return the words of a command that name the loaded files and the user's folder of choices; see `folders.also`."""
    files = [shlex.quote(shown(folders.relative(Path(file.path)))) for file in loaded()]
    return [*(word for file in files for word in ("--components", file)), *folders.option()]


@functools.cache  # a program may change its folder, which would change the meaning of a relative path
def _load_named(value: str) -> None:
    for name in filter(None, value.split(os.pathsep)):
        _load_file(Path(name), origins.VARIABLE)


@functools.cache
def _load_installed(path: tuple[str, ...]) -> None:
    """Load the entry points of installed packages.

    A package that cannot be loaded causes a warning. Its components are then unknown names.

    Args:
        path: The folders in which Python searches packages.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        where = f"the package {point.dist.name if point.dist else point.value}"
        before = set(_all_components())
        try:
            _run(point, where)
        except UsageError as error:
            log.warning("%s", error)
            continue
        for component in set(_all_components()) - before:
            if point.dist is not None:
                origins.distributions[component.__module__] = f"{point.dist.name} {point.dist.version}"


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
    for known in origins.files.values():
        if known.path == str(path):
            if known.sha256 != digest:
                raise UsageError(f"{where} has changed since this process loaded it; start the command again")
            return
    name = f"{registry.FILES}{path.stem}_{digest[:12]}"
    before = set(_all_components())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise UsageError(f"{where} must be a file of Python code, and its name must end with .py; rename it")
    origins.files[name] = origins.File(str(path), digest, origins.digests_of(content)["tree"])
    try:
        _run((spec, content), where)
        if not set(_all_components()) - before:
            raise UsageError(f"{where} registers no component; put @register(axis, name) before a class")
    except BaseException:
        del origins.files[name]
        sys.modules.pop(name, None)
        raise


def _run(code: EntryPoint | tuple[ModuleSpec, bytes], where: str) -> None:
    """Execute code that registers components.

    Raises:
        UsageError: The code cannot be executed; the message has the reason.
    """
    before = set(_all_components())
    try:
        if isinstance(
            code, tuple
        ):  # the package importlib_metadata, once imported, has a class of its own for the other
            spec, content = code
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            exec(compile(content, str(spec.origin), "exec"), module.__dict__)
        else:
            code.load()
        for component in set(_all_components()) - before:
            _check(component)
    except (Exception, SystemExit) as error:
        registry.forget(set(_all_components()) - before)
        if isinstance(error, RefusalError):
            raise UsageError(f"{where} cannot be loaded: {error.reason}", way_out=error.way_out) from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        raise UsageError(f"{where} cannot be loaded: {reason}{_line_of(error, code)}", way_out="mend it") from error


def _line_of(error: BaseException, code: EntryPoint | tuple[ModuleSpec, bytes]) -> str:
    """Return the innermost line of the loaded code that raised the error, in brackets; "" where none is known."""
    package = (code[0].name if isinstance(code, tuple) else code.module).partition(".")[0]
    lines = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package
    ]
    return f" ({shown(Path(lines[-1][0]).name)}, line {lines[-1][1]})" if lines else ""


def _check(component: type[Component]) -> None:
    """Refuse a component that no configuration could select."""
    axis, name = component.axis, component.name
    told = f"@register({axis!r}, {name!r})"
    base = KINDS.get(axis)
    if base is None:
        raise UsageError(f"{told} must name one of {', '.join(KINDS)}", way_out="name another axis")
    if not issubclass(component, base):
        raise UsageError(
            f"{told} must stand before a class that derives from {base.__name__}",
            way_out="derive it",
        )
    if not name.isidentifier():
        raise UsageError(f"{told} must give a name of letters, digits and underscores", way_out="give another")
    if (taken := folders.file_for(f"{axis}/{name}")) is not None:
        raise UsageError(f"{told} must give a name that is free, and {shown(taken)} has it", way_out="give another one")
    if not component.__doc__ or component.__doc__.startswith(f"{component.__name__}("):  # as dataclasses make one
        raise UsageError(
            f"{told} must stand before a class with a docstring, whose first line --help shows", way_out="write one"
        )
    lacking = sorted(component.__abstractmethods__)
    if issubclass(component, Data) and component.look is Data.look and component.fingerprint is Data.fingerprint:
        lacking.append("fingerprint")
    if lacking:
        raise UsageError(
            f"{told} must stand before a class that defines {'() and '.join(lacking)}()",
            way_out="define it",
        )
    own = [vars(each).get("__annotations__", {}) for each in component.__mro__ if not _is_imgrecs(each)]
    for field in dataclasses.fields(component):
        if not any(field.name in names for names in own):
            continue
        if field.name != "name" and "help" not in field.metadata:
            raise UsageError(
                f"{told}: {field.name} must be a setting", way_out=f"write {field.name} = setting(DEFAULT, 'HELP')"
            )
        kind = str(typing.get_type_hints(component)[field.name]).removeprefix("<class '").removesuffix("'>")
        if kind not in _TYPES:
            raise UsageError(
                f"{told}: {field.name} must be one of {', '.join(_TYPES)}, got {kind}", way_out="give it another type"
            )


def _is_imgrecs(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "imgrec"


def _all_components() -> Iterator[type[Component]]:
    for axis in SECTIONS:
        yield from registry.components(axis).values()

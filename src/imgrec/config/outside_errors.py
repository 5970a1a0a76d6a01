"""Find the component from outside of imgrec whose code raised an error, and say so in a sentence."""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from imgrec.config import folders, registry
from imgrec.config.component import Component
from imgrec.config.root import SECTIONS
from imgrec.errors import RefusalError, RunError, shown

_RUN = "imgrec.execution"  # a launcher calls it, and is not the cause of what happens in a run


@dataclass(frozen=True)
class Origin:
    """Where an error was raised.

    Attributes:
        component: The component as `axis=name`; several with `or` between them if the file does not tell which.
        file: The file's name for a sentence.
        line: The innermost line of the component's code, from 1.
    """

    component: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.component} ({self.file}, line {self.line})"


def explained(error: BaseException) -> RunError | None:
    """Return an error that names the outside component, its file and line; None if the error is not from its code.

    A refusal of imgrec's own stays as it is, whoever causes it.
    """
    origin = None if isinstance(error, RefusalError) else origin_of(error)
    if origin is None:
        return None
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return RunError(
        f"{origin.file}, line {origin.line}: {origin.component} raised {reason}",
        way_out="mend it there (IMGREC_DEBUG=1 shows the traceback)",
    )


def origin_of(error: BaseException) -> Origin | None:
    """Return where in an outside component's code the error was raised; None if none of its code was running."""
    outside = [
        component
        for axis in SECTIONS
        for component in registry.components(axis).values()
        if component.__module__.partition(".")[0] != "imgrec"
    ]
    places = {_place(component.__module__) for component in outside}
    found: list[tuple[FrameType, int]] = []
    below = False  # a program that defines a component also calls imgrec
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        below = below or module.partition(".")[0] == "imgrec"
        if module == _RUN:
            found.clear()
        elif below and _place(module) in places:
            found.append((frame, line))
    if not found:
        return None
    frame, line = found[-1]
    path = Path(frame.f_code.co_filename)
    file = shown(folders.relative(path)) if path.is_file() else shown(path)
    return Origin(_told([frame for frame, _ in reversed(found)], outside), file, line)


def _place(module: str) -> str:
    """Return what the code of one file or package has in common: the name of the outermost package."""
    return module.partition(".")[0]


def _told(frames: Sequence[FrameType], outside: Sequence[type[Component]]) -> str:
    """Return which component these frames belong to, from the innermost: its own methods, or what they make."""
    place = _place(str(frames[0].f_globals.get("__name__")))
    near = [component for component in outside if _place(component.__module__) == place]
    for frame in frames:
        names = set(_names_of(frame))
        own = [component for component in near if component.__qualname__.partition(".")[0] in names]
        made = [component for component in near if names & set(_mentioned(component))]
        for candidates in (own, made):
            if len(candidates) == 1:
                return f"{candidates[0].axis}={candidates[0].name}"
    return " or ".join(f"{component.axis}={component.name}" for component in near)


def _names_of(frame: FrameType) -> Iterator[str]:
    """Yield the names, at the top of their module, of a frame's function and of its object's class."""
    yield frame.f_code.co_qualname.partition(".")[0]
    if frame.f_code.co_argcount:
        holder = frame.f_locals.get(frame.f_code.co_varnames[0])
        yield (holder if isinstance(holder, type) else type(holder)).__qualname__.partition(".")[0]


def _mentioned(component: type[Component]) -> Iterator[str]:
    """Yield the names that the component's own methods mention."""
    ahead = [part.__code__ for part in vars(component).values() if inspect.isfunction(part)]
    while ahead:
        code = ahead.pop()
        yield from code.co_names
        ahead += [constant for constant in code.co_consts if isinstance(constant, CodeType)]

"""Identify the source code of a run by digests. Imports no torch.

Each module has two digests: one of its bytes, which is compared first, and one of its syntax tree without docstrings,
which does not depend on comments, blank lines and line breaks. The second is compared only if the first differs.
"""

import functools
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

Code = dict[str, str]
"""By module name, `<digest of its bytes> <digest of its syntax tree>`; an empty text where there is no module."""

RUN = "imgrec.training.run"  # the module that carries out a run; what it imports is the code of a run
COMPUTES_NOTHING = {
    "imgrec": "the version and the public names",
    "imgrec.codebase": "tells code apart",
    "imgrec.codechange": "says and refuses what was made by other code",
    "imgrec.config.changes": "says and refuses what a resumed run cannot change",
    "imgrec.config.explain": "words refusals of the configuration",
    "imgrec.config.word_checks": "refuses words of a command",
    "imgrec.config.launcher": "how a sweep goes, not one of its runs",
    "imgrec.config.sweep": "how a sweep goes, not one of its runs",
    "imgrec.errors": "exceptions and how names are written in sentences",
    "imgrec.untrusted_text": "how texts of strangers are shown",
    "imgrec.config.component": "checks ranges",
    "imgrec.config.origins": "tells outside components apart",
    "imgrec.config.outside": "loads outside components",
    "imgrec.config.outside_errors": "words errors of outside components",
    "imgrec.config.registry": "finds components by name",
    "imgrec.config.yaml_files": "reads files of choices, whose values are in the configuration",
    "imgrec.training.failures": "words errors",
    "imgrec.hparams": "what TensorBoard's HPARAMS page shows",
    "imgrec.job": "a run in plain values",
    "imgrec.runfolder": "where runs lie, and whose a folder is",
    "imgrec.value_checks": "refuses values of files that imgrec did not write",
    "imgrec.syntax": "tells code apart",
    "imgrec.training.interruption": "signals",
    "imgrec.training.loggers": "which loggers there are",
    "imgrec.training.loggers.csv": "begins Lightning's table",
    "imgrec.training.loggers.mlflow": "how MLflow is reached",
    "imgrec.training.loggers.tensorboard": "begins TensorBoard's event files",
    "imgrec.training.loggers.wandb": "how Weights & Biases is reached",
    "imgrec.config.logger": "what every logger has",
    "imgrec.training.run_loggers": "tells loggers of a run",
    "imgrec.training.csv_table": "what Lightning's table has",
    "imgrec.training.figures": "what loggers show",
    "imgrec.training.mlflow": "what MLflow shows",
    "imgrec.training.tensorboard": "what TensorBoard shows",
    "imgrec.training.their_runs": "which runs elsewhere belong to a run",
    "imgrec.training.wandb": "what Weights & Biases shows",
}
"""Modules that a run imports but that no number depends on, with the reason. A change in them is no change of code."""
_TOP = Path(__file__).resolve().parents[1]  # the folder that contains the package
_DIGITS = 12  # hexadecimal digits of a digest
SETTLED = 2 * 10**9  # ns: a second edit within this time may leave a file's times and size unchanged
_LISTED = 4  # modules that are named; the rest is counted


@dataclass(frozen=True)
class _Loaded:
    """A module's source when this process first looked at it, and the module's spec then; a reload makes a new spec."""

    spec: ModuleSpec
    source: bytes


@dataclass(frozen=True)
class _Read:
    """A file's bytes, and the file's state when they were read."""

    state: tuple[int, ...]
    source: bytes


_loaded: dict[Path, _Loaded] = {}
_files: dict[Path, _Read] = {}  # cached, as many records are compared with the same files


def of_run(root: str = RUN, *, top: Path = _TOP) -> Code:
    """Return the digests of `root` and of every module of its package that it imports, directly or not.

    Imports within functions count. Components count as if `root` imported all of them, as it finds them by name. Other
    packages, modules of COMPUTES_NOTHING, imports for type checkers only, and names that are composed at run time do
    not count.

    Args:
        root: The module's name.
        top: The folder that contains the package.

    Returns:
        Empty where there is no source (an installation of bytecode only).

    Raises:
        SyntaxError: A module is no valid Python.
    """
    found: Code = {}
    seen = set[str]()
    ahead = [root, *_components(root, top)]
    while ahead:
        name = ahead.pop()
        if name in seen or not _counts(name, root) or (source := _source(name, top)) is None:
            continue
        seen.add(name)
        tree, imports = _read(source, name, _file(name, top).name == "__init__.py")
        if name not in COMPUTES_NOTHING:
            found[name] = f"{_digest(source)} {tree}"
        ahead += [each for imported in imports for each in _with_packages(imported)]
    return dict(sorted(found.items()))


def _components(root: str, top: Path) -> Iterator[str]:
    """Yield the modules that contain components, which no statement imports."""
    package = top / root.partition(".")[0]
    for room in ("components", "training/callbacks", "training/loggers"):
        for path in sorted((package / room).rglob("*.py")):
            name = path.relative_to(top).with_suffix("")
            yield ".".join(name.parts).removesuffix(".__init__")


def changed(recorded: Mapping[str, str], *, top: Path = _TOP) -> list[str]:
    """Return the recorded modules whose code has changed.

    A new module shows as a change of the module that imports it.
    """
    computing = [name for name in recorded if name not in COMPUTES_NOTHING]
    return [name for name in computing if not _is_same(recorded[name], name, top)]


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the modules whose code differs between the two, or that only one of them has."""
    names = sorted((before.keys() | after.keys()) - COMPUTES_NOTHING.keys())
    return [name for name in names if _tree_in(before.get(name, "")) != _tree_in(after.get(name, ""))]


def remember(root: str = RUN, *, top: Path = _TOP) -> None:
    """Read the source of all modules of the package of `root` that this process has loaded from below `top`.

    A process runs the code that it loaded: a later change of a file belongs to the code of later processes.
    """
    for name in list(sys.modules):
        if _counts(name, root) and _file(name, top).is_file():
            _source(name, top)


def named(modules: Sequence[str]) -> str:
    """Return the modules for a sentence: the first ones by name, the others counted."""
    more = f" and {len(modules) - _LISTED} more" if len(modules) > _LISTED else ""
    return ", ".join(modules[:_LISTED]) + more


def changed_since(modules: Sequence[str]) -> str:
    """Return the words that say that these modules have changed since."""
    return f"{named(modules)} {'has' if len(modules) == 1 else 'have'} changed since"


def _counts(name: str, root: str) -> bool:
    """Return True if the module belongs to the same package as `root`, so that it is code of its runs."""
    return name.partition(".")[0] == root.partition(".")[0]


def _is_same(digests: str, name: str, top: Path) -> bool:
    source = _source(name, top)
    if source is None:
        return not digests
    if digests.partition(" ")[0] == _digest(source):
        return True
    try:
        return _tree_in(digests) == _read(source, name, False)[0]
    except (SyntaxError, ValueError):  # it cannot run, so it is different code
        return False


@functools.lru_cache(maxsize=1024)  # so a process with many runs parses each module once
def _read(source: bytes, name: str, is_package: bool) -> tuple[str, list[str]]:
    """Return the digest of the module's syntax tree, and the names that it imports."""
    from imgrec import syntax  # needed only where bytes differ, or a run begins

    tree = syntax.parse(source)
    return _digest(syntax.normal_form(tree)), list(syntax.imported(tree, name, is_package=is_package))


def _tree_in(digests: str) -> str:
    return digests.rpartition(" ")[2]


@functools.lru_cache(maxsize=1024)
def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _file(name: str, top: Path) -> Path:
    """Return the path that a module of that name has, or would have."""
    package, module = _places(name, top)
    return package if package.is_file() else module


@functools.lru_cache(maxsize=4096)
def _places(name: str, top: Path) -> tuple[Path, Path]:
    """Return the paths that it would have as a package, and as a module."""
    stem = top.joinpath(*name.split("."))
    return stem / "__init__.py", stem.with_name(f"{stem.name}.py")


def _source(name: str, top: Path) -> bytes | None:
    """Return the module's source as this process loaded it, or would load it now; None where there is none."""
    path = _file(name, top)
    spec: ModuleSpec | None = getattr(sys.modules.get(name), "__spec__", None)
    known = _loaded.get(path)
    if known is not None and known.spec is spec:
        return known.source
    source = _content(path)
    if source is not None and spec is not None and spec.origin == str(path):
        _loaded[path] = _Loaded(spec, source)
    return source


def _content(path: Path) -> bytes | None:
    """Return the file's bytes; None where there is no file. It is read again only if it has changed."""
    try:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        known = _files.get(path)
        if known is not None and known.state == state:
            return known.source
        source = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if time.time_ns() - status.st_ctime_ns > SETTLED:
        _files[path] = _Read(state, source)
    return source


def _with_packages(name: str) -> Iterator[str]:
    """Yield the module and the packages that contain it, as importing it imports them."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])

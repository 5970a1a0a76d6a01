"""Find the YAML files of choices, recipes and studies, in imgrec's conf/ and in a folder of the user."""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import yaml

from imgrec.config import yaml_files
from imgrec.config.overrides import quoted
from imgrec.config.registry import components
from imgrec.config.root import GROUPS
from imgrec.errors import StrPath, UsageError, shown

OPTION = "--config-dir"
_KINDS = (*GROUPS, "experiment", "study")
_own: ContextVar[Path | None] = ContextVar("config_dir", default=None)


def conf_dir() -> Path:
    """Return imgrec's own folder: inside the package in a wheel, at the repository's top in an editable install."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UsageError(f"conf/config.yaml must lie in {package} or beside src/, found neither; install imgrec again")


def folders() -> tuple[Path, ...]:
    """Return the folders that contain choices."""
    own = _own.get()
    return (conf_dir(),) if own is None else (conf_dir(), own)


def names(kind: str) -> set[str]:
    """Return the names of the files of an axis, of `experiment` or of `study`."""
    return {path.stem for folder in folders() for path in (folder / kind).glob("*.yaml")}


def file_for(name: str) -> Path | None:
    """Return the file that Hydra calls by this name (`experiment/demo`); None if there is none."""
    return next((path for folder in folders() if (path := folder / f"{name}.yaml").is_file()), None)


def file_of(name: str) -> Path:
    """Return the file of conf/ that Hydra calls `name` (`experiment/demo`); relative if below the working folder."""
    path = file_for(name) or conf_dir() / f"{name}.yaml"
    return relative(path)


def relative(path: Path) -> Path:
    """Return the path from the working folder if it is below that, else as it is."""
    near = Path(os.path.relpath(path))
    return path if ".." in near.parts else near


def rows_of(name: str) -> dict[str, Any]:
    """Return what the file that Hydra calls by this name holds, see `yaml_files.read`."""
    path = file_of(name)
    return yaml_files.read(path, shown(path))


def files(kind: str = "") -> list[Path]:
    """Return the YAML files of an axis, or of all folders of choices."""
    return [path for folder in folders() for path in sorted((folder / kind).rglob("*.yaml"))]


def search_path() -> list[str]:
    """Return the overrides that add the user's folder to Hydra's search path."""
    own = _own.get()
    if own is None:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{own}')}]"]


def option() -> list[str]:
    """Return the words of a command that name the user's folder; none where there is none."""
    own = _own.get()
    return [] if own is None else [OPTION, shlex.quote(str(relative(own)))]


@contextlib.contextmanager
def also(folder: StrPath | None) -> Iterator[None]:
    """Search choices, recipes and studies in this folder too while the block runs.

    The folder has the same subfolders as conf/: one for each axis, experiment/ and study/. Its files set values.

    Args:
        folder: The folder; None to search only imgrec's own.

    Raises:
        UsageError: The folder does not exist, has a file that no command could choose, uses a name that is taken, or
            sets anything else than values.
    """
    if folder is None:
        yield
        return
    token = _own.set(_checked(Path(folder)))
    try:
        yield
    finally:
        _own.reset(token)


def _checked(folder: Path) -> Path:
    told = f"{OPTION} {shown(folder)}"
    place = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100 - resolve() would follow links
    if not place.is_dir():
        raise UsageError(f"{told} must be a folder of YAML files, as conf/ is, and there is none; name another")
    if "${" in str(place):
        raise UsageError(f"{told} must have no ${{ in its path, which Hydra resolves; name another")
    for path in sorted(place.rglob("*.yml")):
        raise UsageError(f"{told}: {shown(path.relative_to(place))} must end with .yaml to be found; rename it")
    found = [path.relative_to(place) for path in sorted(place.rglob("*.yaml"))]
    for path in found:
        kind, name = path.parts[0], path.stem
        if len(path.parts) != 2 or kind not in _KINDS:
            raise UsageError(
                f"{told}: {shown(path)} must lie in a folder of its axis, experiment/ or study/, such as"
                f" optimizer/mine.yaml ({', '.join(_KINDS)}); move it"
            )
        if not name.isidentifier() or yaml.safe_load(name) != name or name.endswith("_schema"):
            raise UsageError(
                f"{told}: {shown(path)} must be named by letters, digits and underscores, as no number and no null, and"
                " must not end with _schema; rename it"
            )
        if (conf_dir() / path).is_file() or name in components(kind):
            raise UsageError(
                f"{told}: {shown(path)} must have a name that is free, and {kind}={name} is there; rename it"
            )
        _check_file(place / path, f"{told}: {shown(path)}", kind)
    if not found:
        raise UsageError(f"{told} must hold YAML files, such as experiment/mine.yaml, and holds none; name another")
    return place


def _check_file(path: Path, told: str, kind: str) -> None:
    """Refuse a file that says how Hydra itself works, as such settings may name classes.

    Raises:
        UsageError: The file does so, cannot be read, or names itself otherwise than it is called.
    """
    rows = yaml_files.read(path, told)
    package = re.findall(r"^#\s*@package\s+(\S+)", path.read_text("utf-8"), re.MULTILINE)
    if set(package) - ({"_global_"} if kind in ("experiment", "study") else set()):
        raise UsageError(f"{told} must set values of its own place, got @package {package[0]}; remove that line")
    if refusal := yaml_files.label_refusal(path, told, rows):
        raise refusal
    if kind not in yaml_files.LABELLED and not [base for base in rows.get("defaults", []) if base != "_self_"]:
        known = ", ".join(f"{name}_schema" for name in components(kind))
        raise UsageError(
            f"{told}: it must name its schema; add a line such as defaults: [{known.partition(',')[0]}] ({known})"
        )
    if "hydra" in str(rows.get("defaults")):
        raise UsageError(
            f"{told} must choose none of Hydra's own groups in its defaults; remove what names hydra there"
        )
    hydra = rows.get("hydra")
    sweeper = hydra.get("sweeper") if isinstance(hydra, dict) else None
    if hydra is not None and not (
        kind == "study" and isinstance(sweeper, dict) and {*hydra} <= {"sweeper", "mode"} and [*sweeper] == ["params"]
    ):
        raise UsageError(
            f"{told} must set values alone, and a study hydra.sweeper.params; remove its other hydra: keys"
        )

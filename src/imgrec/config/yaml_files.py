"""Read the YAML files of choices, recipes and studies, and say what is wrong in one with its file and line."""

import codecs
import io
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config.root import SECTIONS
from imgrec.errors import UsageError

LABELLED = ("experiment", "study")  # files that set the keys of a whole run; the others those of one axis


def read(path: Path, told: str) -> dict[str, Any]:
    """Return what a file of choices holds, as plain values.

    Args:
        path: The file, which lies in a folder named by its axis, `experiment` or `study`.
        told: The file's name for a refusal.

    Raises:
        UsageError: The file cannot be read, is no mapping of keys to values in YAML, or has something else than choices
            in its `defaults`, or than settings below an axis.
    """
    text = _text(path, told)
    kind = path.parent.name
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode) or not root.value:
            example = "trainer: {max_epochs: 3}" if kind in LABELLED else "defaults: [NAME_schema]"
            found = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single word"}.get(type(root), "nothing")
            line = 1 if root is None else root.start_mark.line + 1
            raise UsageError(
                f"{told}, line {line}: it must hold keys and values, such as {example}, got {found}; write some"
            )
        _refuse_base_60(root, told)
        rows: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except yaml.YAMLError as error:
        raise broken(error, told) from error
    except (RecursionError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{told} must be keys and values in YAML, and cannot be read: {reason}; mend it") from error
    _check_defaults(rows, text, told)
    for key, value in rows.items():
        if kind in LABELLED and key in SECTIONS and not isinstance(value, dict):
            raise UsageError(
                f"{told}, line {_line(text, key)}: {key} must have its settings below it, got {value!r}; indent them"
                f" there, and choose by defaults: [override /{key}: NAME]"
            )
    params = _below(_below(rows.get("hydra"), "sweeper"), "params")
    if params is not None and not isinstance(params, dict):
        where = _line(text, "hydra", "sweeper", "params")
        raise UsageError(
            f"{told}, line {where}: params must hold keys and values, such as seed: 0,1, got {params!r}; write them so"
        )
    return {str(key): value for key, value in rows.items()}


def _refuse_base_60(node: yaml.Node, told: str) -> None:
    """Refuse 2:00:00 without quotes, which YAML 1.1 reads as the number 7200."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:int" and node.style is None and ":" in node.value:
            raise UsageError(
                f"{told}, line {node.start_mark.line + 1}: {node.value} must have quotes, as YAML takes it for one"
                f' number in base 60; write "{node.value}"'
            )
        return
    children = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
    for child in children:
        _refuse_base_60(child, told)


def label_refusal(path: Path, told: str, rows: dict[str, Any]) -> UsageError | None:
    """Return the refusal of a recipe or a study that names itself otherwise than its file; None where it does not."""
    kind = path.parent.name
    if kind not in LABELLED or rows.get(kind, path.stem) == path.stem:
        return None
    return UsageError(
        f"{told}, line {_line(_text(path, told), kind)}: {kind} must be {path.stem}, the name of the file, which names"
        f" the folder of its runs, got {rows[kind]!r}; correct the line, or leave it out"
    )


def broken(error: yaml.YAMLError, told: str = "") -> UsageError:
    """Return the refusal of a file that is not valid YAML.

    Args:
        error: The error of the parser.
        told: The file's name for the refusal; "" for the one that the parser knows.
    """
    mark = getattr(error, "problem_mark", None)
    told = told or (str(mark.name) if mark is not None else "a file of conf/")
    where = told if mark is None else f"{told}, line {mark.line + 1}"
    reason = getattr(error, "problem", None) or str(error).strip().splitlines()[0]
    way_out = "mend the line, or the one before"
    if "'\\t'" in reason:
        way_out = "indent by blanks, not by tabs"
    elif "duplicate key" in reason:
        way_out = "leave out one of the two"
    return UsageError(f"{where}: it must be YAML, and cannot be read: {reason}; {way_out}")


def _text(path: Path, told: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{told} must be a file of YAML, and cannot be read: {error.strerror}; mend it") from error
    if content.startswith(codecs.BOM_UTF8):
        raise UsageError(f"{told}, line 1: it must be UTF-8 without a byte order mark, and has one; save it without")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{told}, line {line}: it must be text in UTF-8, got the byte {content[error.start]:#04x}; save it as UTF-8"
        ) from error


def _check_defaults(rows: dict[Any, Any], text: str, told: str) -> None:
    """Refuse a `defaults` that Hydra cannot read."""
    defaults = rows.get("defaults", [])
    if defaults is None:
        where = _line(text, "defaults")
        raise UsageError(f"{told}, line {where}: defaults must name something, and is empty; leave the line out")
    form = "a list such as [NAME_schema] or [override /optimizer: adam]"
    if not isinstance(defaults, list):
        where = _line(text, "defaults")
        raise UsageError(f"{told}, line {where}: defaults must be {form}, got {defaults!r}; put it into brackets")
    for number, item in enumerate(defaults):
        pairs = list(item.items()) if isinstance(item, dict) else []
        chooses = len(pairs) == 1 and all(isinstance(part, str) or part is None for part in pairs[0])
        if not chooses and not isinstance(item, str):
            where = _line(text, "defaults", number)
            raise UsageError(f"{told}, line {where}: defaults must be {form}, got {item!r} in it; write a name there")


def _below(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _line(text: str, *place: str | int) -> int:
    """Return the line, from 1, of the key at that place, or of the item of that number in a list."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 0
    for part in place:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node, line = value, key.start_mark.line
                    break
    return int(line) + 1

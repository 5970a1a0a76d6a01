"""`resume=RUN`: RUN's own command with the new words over it, and what may differ from RUN."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import runfolder
from imgrec.config import plain
from imgrec.config.compose import compose, key_of
from imgrec.config.identity import essence
from imgrec.config.root import Config
from imgrec.errors import UsageError
from imgrec.records import Record

# What the stored state of the optimizer, or of the averaged weights, belongs to.
_FIXED = ("optimizer.name", "optimizer.decay_norm_and_bias", "model.freeze_backbone")


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The command that goes on, and the keys in which it differs from RUN's."""

    words: list[str]
    changed: list[str]


def resolve(run: Path, words: Sequence[str]) -> Resumption:
    """Put `words` over the command of the run in that folder.

    Raises RunError when there is no run, UsageError for a change that resume_override does not allow, or that no
    resumed run can have.
    """
    record = runfolder.record_of(run)
    said = {key_of(text) for text in words} | {"resume", "resume_override", "force"}
    merged = [_settled(run, text, record) for text in record.command if key_of(text) not in said] + list(words)
    before, now = plain.from_flat(record.config), compose(merged)
    changed = _changed(before, now)
    _refuse_changes(run, changed, before, now)
    return Resumption(words=merged, changed=changed)


def _settled(run: Path, word: str, record: Record) -> str:
    """A word of the recorded command; where it refers to something, with the value that this had for the run.

    What is looked up (`${oc.env:HOME}`) may be another value today, or none of the business of who wrote the record.
    """
    if "${" not in word:
        return word
    key = key_of(word)
    value = record.config.get(key)
    if key not in record.config or "${" in str(value):
        raise UsageError(
            f"resume={run} must have a command that refers to nothing, and it has {word!r}; give {key}=VALUE beside it"
        )
    return f"{key}={_literal(value)}"


def _literal(value: Any) -> str:
    """A plain value in Hydra's grammar."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _changed(before: Config, now: Config) -> list[str]:
    old, new = essence(before), essence(now)
    return [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def _refuse_changes(run: Path, changed: list[str], before: Config, now: Config) -> None:
    then, today = plain.flat(before), plain.flat(now)

    def difference(keys: list[str]) -> str:
        return ", ".join(f"{key} {then.get(key, 'absent')} -> {today.get(key, 'absent')}" for key in keys)

    refused = [key for key in changed if key not in now.resume_override]
    if refused:
        raise UsageError(
            f"resume={run} must keep its configuration, and this differs ({difference(refused)}); drop the change,"
            f" or allow it with 'resume_override=[{','.join(refused)}]'"
        )
    fixed = [key for key in changed if key in _FIXED]
    if before.trainer.ema_decay and not now.trainer.ema_decay:
        fixed.append("trainer.ema_decay")
    if "optimizer.momentum" in changed and before.optimizer.name == "rmsprop" and not then["optimizer.momentum"]:
        fixed.append("optimizer.momentum")  # its state has no past updates, and PyTorch makes none later
    if fixed:
        raise UsageError(
            f"resume={run} cannot change {difference(fixed)}: the stored state of the optimizer, or of the averaged"
            " weights, belongs to the old value; start a new run"
        )

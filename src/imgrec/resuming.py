"""Resolve `resume=RUN`: merge RUN's command with new words, and check what may differ from RUN."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import run_lookup, runfolder
from imgrec.config import origins, outside, serialize
from imgrec.config.changes import changeable_keys, why_refused
from imgrec.config.compose import compose
from imgrec.config.fields import nearest
from imgrec.config.identity import essence
from imgrec.config.overrides import key_of
from imgrec.config.root import Config
from imgrec.errors import UsageError, shown
from imgrec.records import Record


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """The command that continues RUN.

    Attributes:
        run: The folder of RUN.
        words: The words of the command.
        changed: The keys in which it differs from RUN.
        differences: These keys with their values, as a text.
    """

    run: Path
    words: list[str]
    changed: list[str]
    differences: str

    @property
    def anew(self) -> str:
        """The command that starts the changed run without RUN, to be pasted."""
        return _restart_command(self.words)

    def refuse_unnamed(self, named: Sequence[str]) -> None:
        """Check that resume_override names every change.

        The error message suggests naming it. So this check must be the last, after all others that refuse the change in
        any case.

        Raises:
            UsageError: It does not.
        """
        if not set(self.changed) <= set(named):
            raise UsageError(
                f"resume={self.run} must keep its configuration, and this differs ({self.differences}); drop the"
                f" change, or allow it with 'resume_override=[{','.join(self.changed)}]'"
            )


def resolve(run: Path, words: Sequence[str]) -> Resumption:
    """Merge `words` into the command of the run in that folder.

    Raises:
        RunError: There is no run.
        UsageError: No resumed run can have a change, or resume_override names an unknown key.
    """
    record = runfolder.record_of(run)
    origins.refuse_missing(record.components, shown(run))  # changes are for the rule `code`
    said = {key_of(text) for text in words} | {"resume", "resume_override", "force", "code"}
    before = serialize.from_flat(record.config)
    own = [text for text in record.command if key_of(text) not in said]
    merged = [_resolved_word(run, text, record) for text in _with_images(run, record, before, own)] + list(words)
    now = compose(merged)
    _refuse_unknown(now.resume_override)
    changed = _changed(before, now)
    then, today = serialize.flat(before), serialize.flat(now)

    def difference(key: str) -> str:
        return f"{key} {then.get(key, 'absent')} -> {today.get(key, 'absent')}"

    if refused := why_refused(changed, then, today):
        reasons = ", ".join(f"{difference(key)} ({why})" for key, why in refused.items())
        raise UsageError(f"resume={run} cannot change {reasons}; drop the change, or {_restart_command(merged)}")
    return Resumption(run=run, words=merged, changed=changed, differences=", ".join(map(difference, changed)))


def _with_images(run: Path, record: Record, before: Config, words: Sequence[str]) -> list[str]:
    """Return the words with data.root at the images' present place, as a relative path started from another folder."""
    after = run_lookup.settled(run, record, before)
    if after is before:
        return list(words)
    root = f"data.root={_literal(getattr(after.data, 'root', None))}"
    return [root if key_of(text) == "data.root" else text for text in words]


def _resolved_word(run: Path, word: str, record: Record) -> str:
    """Return a word of the recorded command, with a reference replaced by the value that it had for the run.

    So is the teacher's place, as the command may have named it from another folder. A reference (`${oc.env:HOME}`) may
    have another value today, or one that the author of the record should not read.
    """
    key = key_of(word)
    if "${" not in word and key != "loss.teacher":
        return word
    value = record.config.get(key)
    if key not in record.config or "${" in str(value):
        raise UsageError(
            f"resume={run} must have a command that refers to nothing, and it has {word!r}; give {key}=VALUE beside it"
        )
    return f"{key}={_literal(value)}"


def _literal(value: Any) -> str:
    """Return a plain value in Hydra's grammar."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _restart_command(words: Sequence[str]) -> str:
    kept = [text for text in words if key_of(text) not in ("resume", "resume_override", "hydra.run.dir")]
    return f"start a new run: {' '.join(['imgrec train', *outside.options(), shlex.join(kept)])}"


def _changed(before: Config, now: Config) -> list[str]:
    old, new = essence(before), essence(now)
    began = [] if before.init_from == now.init_from else ["init_from"]  # a path, and so no part of the essence
    return began + [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def _refuse_unknown(named: Sequence[str]) -> None:
    known = list(changeable_keys())
    for key in named:
        if key not in known:
            guess = nearest(key, known)
            hint = f"did you mean {guess}?" if guess else "leave it out"
            raise UsageError(f"resume_override must name keys of the configuration, got {key!r}; {hint}")

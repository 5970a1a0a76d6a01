"""`resume=RUN`: RUN's own command with the new words over it, and what may differ from RUN."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import run_lookup, runfolder
from imgrec.config import origins, serialize
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
    """The command that goes on, and the keys in which it differs from RUN's.

    differences: each of these keys with its values, as a text.
    """

    run: Path
    words: list[str]
    changed: list[str]
    differences: str

    @property
    def anew(self) -> str:
        """How to start the changed run without RUN, as a command to paste."""
        return _anew(self.words)

    def refuse_unnamed(self, named: Sequence[str]) -> None:
        """Raise UsageError for a change that resume_override does not name.

        The refusal offers to name it. So it comes last, after everything that would refuse the change even then.
        """
        if not set(self.changed) <= set(named):
            raise UsageError(
                f"resume={self.run} must keep its configuration, and this differs ({self.differences}); drop the"
                f" change, or allow it with 'resume_override=[{','.join(self.changed)}]'"
            )


def resolve(run: Path, words: Sequence[str]) -> Resumption:
    """Put `words` over the command of the run in that folder.

    Raises RunError when there is no run, UsageError for a change that no resumed run can have, and for a name in
    resume_override that is no key.
    """
    record = runfolder.record_of(run)
    origins.refuse_other(record.components, shown(run))
    said = {key_of(text) for text in words} | {"resume", "resume_override", "force", "code"}
    before = serialize.from_flat(record.config)
    own = [text for text in record.command if key_of(text) not in said]
    merged = [_settled(run, text, record) for text in _with_images(run, record, before, own)] + list(words)
    now = compose(merged)
    _refuse_unknown(now.resume_override)
    changed = _changed(before, now)
    then, today = serialize.flat(before), serialize.flat(now)

    def difference(key: str) -> str:
        return f"{key} {then.get(key, 'absent')} -> {today.get(key, 'absent')}"

    if refused := why_refused(changed, then, today):
        reasons = ", ".join(f"{difference(key)} ({why})" for key, why in refused.items())
        raise UsageError(f"resume={run} cannot change {reasons}; drop the change, or {_anew(merged)}")
    return Resumption(run=run, words=merged, changed=changed, differences=", ".join(map(difference, changed)))


def _with_images(run: Path, record: Record, before: Config, words: Sequence[str]) -> list[str]:
    """The words, whose data.root says where the images lie now: a relative one started from another folder."""
    after = run_lookup.settled(run, record, before)
    if after is before:
        return list(words)
    root = f"data.root={_literal(getattr(after.data, 'root', None))}"
    return [root if key_of(text) == "data.root" else text for text in words]


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


def _anew(words: Sequence[str]) -> str:
    kept = [text for text in words if key_of(text) not in ("resume", "resume_override", "hydra.run.dir")]
    return f"start a new run: {shlex.join(['imgrec', 'train', *kept])}"


def _changed(before: Config, now: Config) -> list[str]:
    old, new = essence(before), essence(now)
    return [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def _refuse_unknown(named: Sequence[str]) -> None:
    known = list(changeable_keys())
    for key in named:
        if key not in known:
            guess = nearest(key, known)
            hint = f"did you mean {guess}?" if guess else "leave it out"
            raise UsageError(f"resume_override must name keys of the configuration, got {key!r}; {hint}")

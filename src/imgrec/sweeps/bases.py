"""Check and apply `sweep.bases`: fixed overrides of a choice, in addition to the values that a tuned sweep tries.

Imports no torch.
"""

from collections.abc import Collection, Sequence

from imgrec.config.fields import choice
from imgrec.config.overrides import key_of
from imgrec.config.root import GROUPS, STEERING
from imgrec.config.schemas import choices, known_keys
from imgrec.config.serialize import flat
from imgrec.errors import UsageError
from imgrec.job import Job
from imgrec.tables.factors import text

_NO_PART = ("seed", "test", "resume", "resume_override", "force", "code", "study", "experiment")  # of a choice


def check(bases: Sequence[str], tuned: Collection[str]) -> None:
    """Refuse a base of an unknown choice, or one that sets a key that a base may not set.

    Args:
        bases: The values of `sweep.bases`.
        tuned: The keys whose values are tried.

    Raises:
        UsageError: A base is invalid.
    """
    for base in bases:
        of, words = _halves(base)
        for word in of:
            key, _, value = word.partition("=")
            if key in GROUPS:
                choice(f"{key} in sweep.bases", value, choices(key))
            elif key not in known_keys():
                raise UsageError(f"sweep.bases must name keys of a run, got {word!r}; drop it, or correct {key}")
        for word in words:
            key = key_of(word)
            if key in tuned:
                raise UsageError(f"sweep.bases gives {key}, whose values sweep.tune tries; drop one")
            if key in _NO_PART or key.partition(".")[0] in (*STEERING, "hydra"):
                raise UsageError(f"sweep.bases must say what a choice is, got {word!r}; give it to the command instead")


def words_for(base: str, job: Job) -> list[str]:
    """Return the overrides of a base if the run has the base's choice, else none."""
    of, words = _halves(base)
    return words if all(_holds(word, job) for word in of) else []


def _halves(base: str) -> tuple[list[str], list[str]]:
    of, _, words = base.partition(": ")
    return of.split(), words.split()


def _holds(word: str, job: Job) -> bool:
    """Return True if the run has the value of the override, set by the command, a recipe or a study."""
    key, _, value = word.partition("=")
    given = [each.partition("=")[2] for each in job.command if key_of(each) == key]
    if given:
        return given[-1] == value
    if key in GROUPS:
        return bool(getattr(job.config, key).name == value)
    return text(flat(job.config).get(key)) == value

"""Parse a study's primary scores and contrasts, which are declared in the configuration before the study runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from imgrec.config.fields import choice
from imgrec.errors import UsageError

_FORM = re.compile(r"(?P<metric>[a-z]\w*)(?: at (?P<at>\S+))?(?:: (?P<ours>\S.*?) vs (?P<theirs>\S.*))?")
_EXAMPLE = "top1 at last: optimizer=adam vs optimizer=sgd"


@dataclass(frozen=True, kw_only=True)
class Primary:
    """A score, and the two settings that it compares.

    Attributes:
        metric: The score.
        at: best or last; None for what the table shows.
        ours: The first setting: keys as a command gives them, values as records have them. Empty without a contrast.
        theirs: The second setting, with the same keys.
        words: The text of the declaration.
    """

    metric: str
    at: str | None
    ours: Mapping[str, str]
    theirs: Mapping[str, str]
    words: str


def parse(words: str) -> Primary:
    """Parse a declaration.

    Raises:
        UsageError: The text has another form.
    """
    found = _FORM.fullmatch(words.strip())
    if found is None:
        raise UsageError(
            f"primary must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE], got {words!r}; as {_EXAMPLE!r}"
        )
    if found["at"] is not None:
        choice("primary's place", found["at"], ("best", "last"))
    sides = [_pairs(side, words) for side in (found["ours"], found["theirs"])]
    if sides[0].keys() != sides[1].keys() or (sides[0] and sides[0] == sides[1]):
        raise UsageError(f"primary must give both sides other values of the same keys, got {words!r}; as {_EXAMPLE!r}")
    return Primary(metric=found["metric"], at=found["at"], ours=sides[0], theirs=sides[1], words=words.strip())


def _pairs(side: str | None, words: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in (side or "").split():
        key, equals, value = word.partition("=")
        if not (key and equals and value) or key in pairs:
            raise UsageError(f"primary must have sides of KEY=VALUE, each key once, got {words!r}; as {_EXAMPLE!r}")
        pairs[key] = value
    return pairs

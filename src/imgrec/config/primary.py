"""Parse a study's primary scores and contrasts, which are declared in the configuration before the study runs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgrec.config.fields import choice
from imgrec.errors import UsageError

_FORM = re.compile(
    r"(?P<metric>[a-z]\w*)(?: at (?P<at>\S+))?"
    r"(?:: (?P<ours>\S.*?) vs (?P<theirs>\S.*?)(?: under (?P<here>\S.*?) vs (?P<there>\S.*))?)?"
)
_EXAMPLE = "top1 at last: optimizer=adam vs optimizer=sgd"


@dataclass(frozen=True, kw_only=True)
class Primary:
    """A score, and the two settings that it compares.

    With two conditions it is an interaction: how far the difference of the settings depends on the condition.

    Attributes:
        metric: The score.
        at: best or last; None for what the table shows.
        ours: The first setting: keys as a command gives them, values as records have them. Empty without a contrast.
        theirs: The second setting, with the same keys.
        here: The first condition. Empty without conditions.
        there: The second condition, with the same keys.
        words: The text of the declaration.
    """

    metric: str
    at: str | None
    ours: Mapping[str, str]
    theirs: Mapping[str, str]
    words: str
    here: Mapping[str, str] = field(default_factory=dict)
    there: Mapping[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> tuple[tuple[Mapping[str, str], Mapping[str, str]], ...]:
        """The two settings, and the two conditions if there are any."""
        return tuple(pair for pair in ((self.ours, self.theirs), (self.here, self.there)) if pair[0])


def parse(words: str) -> Primary:
    """Parse a declaration.

    Raises:
        UsageError: The text has another form.
    """
    found = _FORM.fullmatch(words.strip())
    if found is None:
        raise UsageError(
            "primary must be METRIC [at best|last][: KEY=VALUE vs KEY=VALUE [under KEY=VALUE vs KEY=VALUE]], got"
            f" {words!r}; as {_EXAMPLE!r}"
        )
    if found["at"] is not None:
        choice("primary's place", found["at"], ("best", "last"))
    ours, theirs, here, there = (_pairs(found[side], words) for side in ("ours", "theirs", "here", "there"))
    for one, other in ((ours, theirs), (here, there)):
        if one.keys() != other.keys() or (one and one == other):
            raise UsageError(
                f"primary must give both sides other values of the same keys, got {words!r}; as {_EXAMPLE!r}"
            )
    if both := sorted(ours.keys() & here.keys()):
        raise UsageError(
            f"primary must have conditions of other keys than its sides, got {both[0]} in both in {words!r}; as"
            f" {_EXAMPLE + ' under loss=mse vs loss=brier'!r}"
        )
    return Primary(
        metric=found["metric"],
        at=found["at"],
        ours=ours,
        theirs=theirs,
        words=words.strip(),
        here=here,
        there=there,
    )


def _pairs(side: str | None, words: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in (side or "").split():
        key, equals, value = word.partition("=")
        if not (key and equals and value) or key in pairs:
            raise UsageError(f"primary must have sides of KEY=VALUE, each key once, got {words!r}; as {_EXAMPLE!r}")
        pairs[key] = value
    return pairs

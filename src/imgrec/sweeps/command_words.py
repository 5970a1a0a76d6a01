"""Read the words of a sweep: refuse those that no sweep takes, and say what varies. Imports no torch."""

from collections.abc import Sequence

from imgrec.config.compose import compose, expand
from imgrec.config.overrides import given, parsed
from imgrec.config.root import STEERING, Config
from imgrec.errors import UsageError
from imgrec.sweeps.search_space import example

_NONE = {
    "hydra.run.dir": "has no effect on a sweep; give hydra.sweep.dir, or leave it out",
    "resume": "continues one run, and a sweep asks for several; start each one by itself",
    "hydra.mode": "asks for one run, and -m for several; drop one of the two",
    "force": "does finished runs over, which a sweep never does; give another hydra.sweep.dir",
}  # keys that a sweep has not, and why


def refuse_keys(overrides: Sequence[str]) -> None:
    """Refuse keys that a sweep has not."""
    for key, reason in _NONE.items():
        if given(overrides, key) is not None:
            raise UsageError(f"{key} {reason}")


def refuse_lists(words: Sequence[str]) -> None:
    """Refuse several values of a key that applies to the sweep as a whole."""
    for override in parsed(words):
        if not override.is_sweep_override():
            continue
        key = override.get_key_element()
        if key.partition(".")[0] in (*STEERING, "hydra", "code"):
            raise UsageError(f"{key} holds for a whole sweep, got {override.input_line}; give one value")
        if key == "experiment" and given(words, "hydra.sweep.dir") is None and given(words, "study") is None:
            raise UsageError(
                f"{override.input_line} needs a folder of its own, as each recipe has one; give hydra.sweep.dir"
            )


def first(words: Sequence[str]) -> Config:
    """Return the configuration of one of the runs. Its settings of the sweep hold for all runs."""
    return compose(example(words) if _names_intervals(words) else expand(words)[0])


def varied(words: Sequence[str], config: Config) -> set[str] | None:
    """Return the keys that a sweep varies, including a study's keys that the command sets; None if nothing varies."""
    return {each.key_or_group for each in parsed([*words, *config.sweep.tries]) if each.is_sweep_override()} or None


def _names_intervals(words: Sequence[str]) -> bool:
    """Return True if an override contains an interval, which only a search takes."""
    return any("interval(" in word for word in words)

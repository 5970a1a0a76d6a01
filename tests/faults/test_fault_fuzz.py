"""Any words at all in a command: a checked configuration, or a sentence."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgrec.config import plain
from imgrec.config.compose import compose, expand
from imgrec.config.identity import run_id, run_name
from imgrec.config.root import GROUPS
from imgrec.config.schemas import choices, known_keys
from imgrec.errors import UsageError

KEYS = sorted(known_keys())

names = st.sampled_from([*KEYS, *GROUPS, "hydra.run.dir", "experiment", "study"])
odd_names = st.one_of(st.text(max_size=12), names.map(lambda name: f"+{name}"), names.map(lambda name: f"~{name}"))
ODD = (
    "true null '' [] {} ??? -0.0 1e400 [[1]] ${seed} ${oc.env:HOME} {a:1} 0x10 !!python/none"
    " a,b range(3) ${seed ' \\ = [1,"
)
values = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(ODD.split()),
    st.text(max_size=20),
    st.sampled_from([name for axis in GROUPS for name in choices(axis)]),
)
words = st.one_of(
    st.tuples(names, values).map("=".join),
    st.tuples(odd_names, values).map("=".join),
    st.sampled_from(GROUPS).flatmap(lambda axis: st.sampled_from(choices(axis)).map(lambda name: f"{axis}={name}")),
    st.text(max_size=20),
)


def check(command: list[str]) -> None:
    """A configuration comes back as it went into a file, and names a folder; a refusal is one printable sentence."""
    try:
        expand(command)
        config = compose(command)
    except UsageError as error:
        sentence = " ".join(str(error).split())
        assert sentence
        assert "Traceback" not in sentence
        sentence.encode("utf-8", "surrogateescape")
    else:
        assert plain.from_flat(plain.flat(config)) == config
        identity = run_id(config, "fingerprint")
        name = run_name(config, command, identity)
        assert name.isascii()
        assert "/" not in name
        assert len(name) < 200


def fuzz(examples: int) -> None:
    settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )(given(st.lists(words, min_size=1, max_size=4))(check))()


@pytest.mark.parametrize("examples", [30, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_any_words_make_a_configuration_or_a_sentence(examples: int, outcome: Callable[[str, str], None]) -> None:
    fuzz(examples)
    outcome(f"{examples} commands of random words", "a checked configuration, or one sentence, each time")

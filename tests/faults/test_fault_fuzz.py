"""Test random overrides in a command and random values in a file: the result is correct, or one sentence.

IMGREC_FUZZ_SEED=7 makes other files than the default.
"""

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_runs
import pytest
import torch
from diagnosed import add_diagnostics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated import SEED, mutated
from runs import ended_at

from imgrec.config import serialize
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
        assert serialize.from_flat(serialize.flat(config)) == config
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
@pytest.mark.long
def test_any_words_make_a_configuration_or_a_sentence(examples: int, outcome: Callable[[str, str], None]) -> None:
    fuzz(examples)
    outcome(f"{examples} commands of random words", "a checked configuration, or one sentence, each time")


Said = tuple[int, str, str]
BATCH = 50  # files that one command reads


def assert_told(said: Said) -> None:
    """Done, or refused in sentences: no name of an exception."""
    code, _, err = said
    assert code in (0, 1, 2), err
    assert "Traceback" not in err, err
    for line in err.splitlines():
        assert not re.search(r"\b[A-Z]\w*(Error|Exception|Warning)\b", line), line
        assert line.isprintable(), line
    assert code == 0 or err.splitlines()[-1].startswith("imgrec: "), err


def many(default: int, stated: int) -> pytest.MarkDecorator:
    """A few in the default suite, the stated number in the slow one."""
    whole = pytest.param(stated, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
    return pytest.mark.parametrize("files", [default, whole])


@pytest.fixture
def record_rows(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The rows of a record with everything in it, in a working folder on a disk that need not be forced to anything."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    cost = {"seconds": 1.5, "train_seconds": 1.0, "images_per_second": 9.0, "parameters": 9, "flops_per_image": 9}
    scores = [fake_runs.score(metric, 0.5, split=split) for metric in ("top1", "loss") for split in ("val", "test")]
    scores[0].ci = (0.4, 0.6)
    record = fake_runs.run(
        "optimizer=sgd seed=1",
        *scores,
        cost=cost,
        weights={"last": "a" * 64},
        progress={"from": None, "steps": 9, "best": {"top1": 0.5}},
        began="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:01:00+00:00",
        environment={"threads": 2},
    )
    rows: dict[str, Any] = json.loads(fake_runs.lay(Path("plain"), record, "run").read_text())
    return rows


def dumped(value: Any) -> str:
    return json.dumps(value).replace('"' + "9" * 5000 + '"', "9" * 5000)  # also as a number that Python will not read


@many(200, 5000)
def test_any_record_is_tabulated_or_named(
    record_rows: dict[str, Any], command: Callable[..., Said], outcome: Callable[[str, str], None], files: int
) -> None:
    draws = random.Random(f"{SEED} records")
    for batch in range(0, files, BATCH):
        for number in range(BATCH):
            folder = Path(f"batch{batch}") / f"run{number}"
            folder.mkdir(parents=True)
            rows = mutated({**record_rows, "run_id": f"{number:064}"}, draws)
            (folder / "record.json").write_text(dumped(rows))
        fake_runs.lay(
            Path(f"batch{batch}"), fake_runs.run("optimizer=sgd", fake_runs.score("top1", 0.5), run_id="good"), "good"
        )
        for form in ("markdown", "csv") if batch % (4 * BATCH) == 0 else ("markdown",):
            assert_told(command("table", f"batch{batch}", "--format", form))
    outcome(f"{files} records with a value changed: table", "tabulated, or named in a sentence, each time")


@many(50, 2000)
@pytest.mark.long
def test_any_diagnostics_are_drawn_or_named(
    record_rows: dict[str, Any], command: Callable[..., Said], outcome: Callable[[str, str], None], files: int
) -> None:
    draws = random.Random(f"{SEED} diagnostics")
    named = 0
    for batch in range(0, files, BATCH):
        for number in range(BATCH):
            record = fake_runs.run(f"optimizer=sgd seed={number}", fake_runs.score("top1", 0.5), run_id=f"{number:064}")
            folder = fake_runs.lay(Path(f"batch{batch}"), record, f"run{number}").parent
            add_diagnostics(folder, ["a", "b", "c"], [[5, 1, 0], [0, 6, 0], [1, 1, 4]])
            path = folder / "diagnostics.json"
            path.write_text(dumped(mutated(json.loads(path.read_text()), draws)))
        code, out, err = command("report", f"batch{batch}", "-o", "page.html")
        assert_told((code, out, err))
        assert Path("page.html").read_text().endswith("</html>"), "one bad file costs no page"
        named += err.count("must be diagnostics that imgrec wrote")
        Path("page.html").unlink()
    assert named
    outcome(f"{files} diagnostics with a value changed: report", f"a page each time; {named} files named in a sentence")


@many(8, 1200)
@pytest.mark.long
def test_any_checkpoint_is_gone_on_from_or_refused(
    tiny: list[str],
    imgrec: Callable[..., Any],
    workplace: Path,
    command: Callable[..., Said],
    monkeypatch: pytest.MonkeyPatch,
    outcome: Callable[[str, str], None],
    files: int,
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "trainer.ema_decay=0.9", "schedule=cosine", "trainer.early_stopping=2"]
    assert imgrec("train", *words, "hydra.run.dir=cut", before=lambda: ended_at(3)).wait() == 143
    state = torch.load("cut/checkpoints/last.ckpt", weights_only=True)
    monkeypatch.setattr("os.fsync", lambda _: None)
    draws = random.Random(f"{SEED} checkpoints")
    refused = 0
    for number in range(files):
        run = Path(f"run{number}")
        shutil.copytree("cut", run)
        for each in (run / "checkpoints").iterdir():
            each.unlink()
        path = run / "checkpoints" / "last.ckpt"
        torch.save(mutated(state, draws, tensors=True), path)
        for said in (command("evaluate", str(path)), command("train", *words, f"hydra.run.dir={run}")):
            assert_told(said)
            refused += said[0] != 0
        shutil.rmtree(run)
    assert refused
    outcome(
        f"{2 * files} times evaluate or resume a checkpoint with a value changed", f"{refused} refused in a sentence"
    )

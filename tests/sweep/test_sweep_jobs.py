"""Test the environment of one run of a sweep, and the name of its folder."""

import dataclasses
import logging
import shutil
from pathlib import Path

import pytest
from fake_runs import lay, run

from imgrec import run_lookup
from imgrec.config.compose import compose
from imgrec.data import inventory
from imgrec.sweeps.jobs import Jobs

WORDS = ["data=digits", "trainer.max_epochs=3", "optimizer=sgd", "loss=mse", "seed=1"]


@pytest.mark.parametrize(
    ("varied", "name"),
    [
        ({"optimizer", "seed"}, "optimizer-sgd_seed-1"),
        ({"seed"}, "seed-1"),
        (None, "data-digits_max-epochs-3_optimizer-sgd_loss-mse_seed-1"),
    ],
)
def test_a_new_folder_is_named_by_what_varies_and_an_old_one_keeps_its_name(
    tmp_path: Path, varied: set[str] | None, name: str
) -> None:
    job = Jobs(tmp_path, varied).job(WORDS)
    assert job.name == f"{name}-{job.run_id[:8]}"
    old = lay(tmp_path, dataclasses.replace(run("loss=mse"), run_id=job.run_id), f"x-{job.run_id[:8]}").parent
    assert Jobs(tmp_path, varied).job(WORDS).folder == old


def test_an_older_id_serves_one_of_two_roots_that_differ_in_contents_alone(
    image_folder: Path, workplace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("pa", "pb"):
        shutil.copytree(image_folder, name)
    texts = {name: Path("pa", name, "00.png").read_bytes().ljust(9000, b"\0") for name in ("bars", "disc")}
    for root, first, second in (("pa", "bars", "disc"), ("pb", "disc", "bars")):
        Path(root, "bars/00.png").write_bytes(texts[first])
        Path(root, "disc/00.png").write_bytes(texts[second])
    words = {root: ["data=folder", f"data.root={root}"] for root in ("pa", "pb")}
    older = inventory.take(compose(words["pa"]).data).older
    assert older is not None
    own = run_lookup.identity(compose(words["pa"]), older.fingerprint)
    old = lay(Path("sweep"), dataclasses.replace(run("loss=mse"), run_id=own), f"x-{own[:8]}").parent
    caplog.set_level(logging.WARNING)
    for _ in range(2):  # as long as a sweep lives, and in the next one
        jobs = Jobs(Path("sweep"))
        found = {root: jobs.job(words[root]) for root in ("pa", "pb")}
        assert (found["pa"].folder, found["pa"].run_id) == (old, own)
        assert found["pb"].folder != old
        assert found["pb"].run_id == run_lookup.identity(found["pb"].config, found["pb"].seen.fingerprint)
    assert caplog.text.count("it is kept for data.root=pa, and data.root=pb gets a run of its own") == 2

"""Test the launcher's own keys."""

import pytest

from imgrec.config.compose import compose
from imgrec.errors import UsageError
from imgrec.sweeps.launchers.basic import Basic
from imgrec.sweeps.launchers.pool import Pool


def test_joblib_is_another_name_for_pool() -> None:
    assert isinstance(compose([]).launcher, Basic)
    for name in ("pool", "joblib"):
        assert compose([f"launcher={name}", "launcher.processes=3"]).launcher == Pool(processes=3)


@pytest.mark.parametrize("processes", [-1, 1025])
def test_a_number_of_processes_that_cannot_be_is_refused(processes: int) -> None:
    with pytest.raises(UsageError, match=r"launcher\.processes must lie in \[0, 1024\], got"):
        Pool(processes=processes)


def test_a_number_of_runs_on_a_gpu_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"launcher\.per_gpu must lie in \[0, 64\], got"):
        Pool(per_gpu=65)

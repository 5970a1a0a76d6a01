"""Where Hydra meets imgrec's sweeps: its launcher and its sweeper, found by Hydra itself.

Every Hydra application of this environment imports this file: it is light, and all the work is done in `imgrec.sweep`,
whose `Sweep` is the task that Hydra is given.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class ImgrecLauncher(Launcher):
    """Skips the runs that have finished, goes on with those that were interrupted, and hands the rest on."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._sweep: Any = task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        returns: Sequence[JobReturn] = self._sweep.launch(job_overrides)
        return returns


class ImgrecSweeper(BasicSweeper):
    """Hydra's own grid, or the search that `sweep=` names."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self._sweep: Any = task_function

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: every job has been composed and checked before Hydra was asked."""

    def sweep(self, arguments: list[str]) -> Any:
        if not self._sweep.searches:
            return super().sweep(arguments)
        assert self.config is not None
        OmegaConf.save(self.config, self._sweep.folder / "multirun.yaml")  # as Hydra's grid leaves it
        return self._sweep.search([*self._parse_config(), *arguments])


_MODULE = "hydra_plugins.imgrec_launcher"
ConfigStore.instance().store(
    group="hydra/launcher", name="imgrec", node={"_target_": f"{_MODULE}.ImgrecLauncher"}, provider="imgrec"
)
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="imgrec",
    node={"_target_": f"{_MODULE}.ImgrecSweeper", "max_batch_size": None, "params": None},
    provider="imgrec",
)

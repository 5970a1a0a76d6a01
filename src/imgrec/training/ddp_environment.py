"""The environment in which Lightning finds the processes of a run, which imgrec has started itself."""

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.utilities import rank_zero_only

from imgrec import ddp_processes


class OwnProcesses(ClusterEnvironment):
    """This process and its companions, on one machine.

    Lightning would take SLURM's or torchrun's environment where it sees one, and count their processes as the run's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rank, self._size = ddp_processes.rank(), 1
        self._port: int | None = None

    @property
    def creates_processes_externally(self) -> bool:
        """True: Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        return ddp_processes.ADDRESS

    @property
    def main_port(self) -> int:
        """Where the first process waits; looked for when it is asked for, so that it is still free."""
        if self._port is None:
            self._port = ddp_processes.port() if ddp_processes.rank() else find_free_network_port()
        return self._port

    @staticmethod
    def detect() -> bool:
        """False: nothing chooses this environment by itself."""
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        self._size = size

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        self._rank = rank
        rank_zero_only.rank = rank  # type: ignore[attr-defined]

    def local_rank(self) -> int:
        return ddp_processes.rank()

    def node_rank(self) -> int:
        return 0

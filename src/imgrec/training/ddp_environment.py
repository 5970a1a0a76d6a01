"""Define the environment in which Lightning finds the processes of a run, which imgrec has started itself."""

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.utilities import rank_zero_only

from imgrec import ddp_processes


class OwnProcesses(ClusterEnvironment):
    """The processes of a run on one machine.

    Without this class Lightning would use an environment of SLURM or torchrun, and count its processes as the run's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rank, self._size = ddp_processes.rank(), 1
        self._port: int | None = None

    @property
    def creates_processes_externally(self) -> bool:
        """True, so that Lightning starts no processes."""
        return True

    @property
    def main_address(self) -> str:
        return ddp_processes.ADDRESS

    @property
    def main_port(self) -> int:
        """The port of the first process. It is chosen at the first use, so that it is still free."""
        if self._port is None:
            self._port = ddp_processes.port() if ddp_processes.rank() else find_free_network_port()
        return self._port

    @staticmethod
    def detect() -> bool:
        """Return False, as this environment is never selected automatically."""
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

"""Define the environment in which Lightning finds the processes of a run: imgrec's own, torchrun's or srun's."""

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from imgrec import ranks

_FREE = (ranks.ADDRESS, None)


class RunProcesses(ClusterEnvironment):
    """The processes of a run.

    Without this class Lightning would decide by single variables who started them, and count others as the run's.
    """

    def __init__(self) -> None:
        super().__init__()
        start = ranks.here()
        self._rank, self._local_rank = start.rank, start.local_rank
        self._node = (start.rank - start.local_rank) // (start.per_node or 1) if start.from_outside else 0
        self._size = 1
        self._address, self._port = (start.address, start.port) if start.rank or start.from_outside else _FREE

    @property
    def creates_processes_externally(self) -> bool:
        """True, so that Lightning starts no processes."""
        return True

    @property
    def main_address(self) -> str:
        return self._address

    @property
    def main_port(self) -> int:
        """The port of the first process. Where nobody gives it, it is chosen at the first use, so that it is free."""
        if self._port is None:
            self._port = find_free_network_port()
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
        """Keep the rank that the starting program gives: SLURM may number the tasks across the machines in turn."""

    def local_rank(self) -> int:
        return self._local_rank

    def node_rank(self) -> int:
        return self._node

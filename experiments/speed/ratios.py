"""What the benchmarks share: a measurement in a process of its own, and a table that puts ratios first."""

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from imgrec.environment import environment
from imgrec.errors import RunError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: its values over the rounds, and what was aimed at, if anything."""

    name: str
    values: tuple[float, ...]
    unit: str = ""
    aim: str = ""
    """`>= 0.95` or `<= 1.3`, of the median."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        if not self.aim:
            return ""
        sign, limit = self.aim.split()
        met = self.median >= float(limit) if sign == ">=" else self.median <= float(limit)
        return f"{self.aim}: {'met' if met else 'MISSED'}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": self.median, "verdict": self.verdict}


def ratio(name: str, over: Row, under: Row, *, aim: str = "") -> Row:
    """The quotient, round by round: what the machine does to one side in a round it does to the other."""
    values = tuple(a / b for a, b in zip(over.values, under.values, strict=True))
    return Row(name=name, values=values, aim=aim)


def table(title: str, rows: Sequence[Row]) -> str:
    """Markdown: median [least, most] and the verdict, a figure a line."""
    lines = [f"**{title}**", "", "| | median [least, most] | aim |", "| --- | --- | --- |"]
    lines += [f"| {row.name} | {_spread(row.values)} {row.unit} | {row.verdict} |" for row in rows]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    digits = 0 if min(values) >= 100 else 1 if min(values) >= 10 else 3
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def alone(work: Callable[[], T]) -> T:
    """What the function returns in a new process, so that nothing it sets there helps or hinders another.

    Forked, which PyTorch allows as long as this process has not computed anything itself: a child of one that has would
    wait for ever. Raises RunError if it fails.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    sender.close()
    try:
        result: T = receiver.recv()
    except EOFError:
        raise RunError("a measurement failed; its own message stands above") from None
    finally:
        process.join()
    return result


def about() -> str:
    """The machine and the versions, for a caption. Asked for in a process of its own, as it starts a GPU."""
    now = alone(environment)
    code = f"commit {now['commit']}{' (dirty)' if now['dirty'] else ''}"
    return (
        f"{now['cpu']}, {now['cores']} cores, {now['threads']} threads; {now['platform']}; python {now['python']}, "
        f"torch {now['torch']}, torchvision {now['torchvision']}, lightning {now['lightning']}; imgrec {now['imgrec']},"
        f" {code}"
    )

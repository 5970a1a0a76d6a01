"""Read published scores, each with its source, to show beside one's own. Imports no torch.

The file that imgrec ships is published.toml, in this folder. A user's own file has the same form.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec.config.fields import nearest
from imgrec.config.root import GROUPS
from imgrec.config.schemas import known_keys
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record
from imgrec.tables.column import Column
from imgrec.tables.factors import full, text, value_of

OWN = Path(__file__).with_name("published.toml")
NONE = "none"  # value of --published for no figures


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of published scores, and how they were measured.

    Attributes:
        key: Its name on the command line.
        model: The network.
        matches: True if model, data and training are the same as in the studies here.
        test: The protocol of the test score.
        studies: The studies that show it by default.
    """

    key: str
    citation: str
    model: str
    data: str
    training: str
    matches: bool
    test: str = "clean"
    studies: tuple[str, ...] = ()

    def line(self) -> str:
        """Return the source as a sentence."""
        protocol = "the protocol is the same" if self.matches else "the protocol differs"
        return f"{self.citation}: {self.model}, {self.data}, {self.training}; {protocol}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A published score in percent, as printed.

    Attributes:
        setting: Keys and values of the runs that it corresponds to.
        value: The value, as printed.
        spread: The spread, as printed.
    """

    source: Source
    setting: Mapping[str, str]
    metric: str
    value: str
    spread: str | None = None

    def fits(self, run: Record, column: Column) -> bool:
        """Return True if the figure has the run's setting, and the column is its test score."""
        alike = all(text(value_of(run, full(key))) == value for key, value in self.setting.items())
        return alike and (column.metric, column.split, column.protocol) == (self.metric, "test", self.source.test)


def for_runs(runs: Sequence[Record], chosen: str | None) -> list[Figure]:
    """Return the published figures to show.

    Args:
        runs: The runs' records.
        chosen: Keys of sources, or a file of figures; None for the sources that the runs' studies name.

    Raises:
        UsageError: A key is unknown.
        RunError: The file has another form.
    """
    if chosen == NONE:
        return []
    if chosen is not None and chosen.endswith(".toml"):
        return read(Path(chosen))
    figures = read(OWN)
    if chosen is None:
        studies = {name for run in runs for name in (run.study, run.experiment)}
        return [figure for figure in figures if studies & set(figure.source.studies)]
    known = list(dict.fromkeys(figure.source.key for figure in figures))
    keys = chosen.split(",")
    for key in keys:
        if key not in known:
            guess = nearest(key, known)
            hint = f"; did you mean {guess}?" if guess else ""
            raise UsageError(f"--published must be of {', '.join(known)}, {NONE}, or a .toml file, got {key!r}{hint}")
    return [figure for figure in figures if figure.source.key in keys]


def read(path: Path) -> list[Figure]:
    """Read the figures of a file.

    Raises:
        RunError: The file does not have the form of published.toml.
    """
    try:
        sources = tomllib.loads(path.read_text("utf-8"))["source"]
        return [figure for rows in sources for figure in _figures(rows)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else getattr(error, "strerror", None) or error
        raise RunError(
            f"{shown(path)} must be a file of published figures, got: {reason}; take the form of {OWN}"
        ) from error


def _figures(rows: Mapping[str, Any]) -> list[Figure]:
    about = {key: value for key, value in rows.items() if key not in ("figures", "setting")}
    source = Source(**{**about, "studies": tuple(about.get("studies", ()))})
    if not isinstance(source.matches, bool):
        raise ValueError(f"matches must be true or false, got {source.matches!r}")
    return [_figure(row, source, rows.get("setting", {})) for row in rows["figures"]]


def _figure(row: Mapping[str, Any], source: Source, common: Mapping[str, Any]) -> Figure:
    for number in (row["value"], row.get("spread", "0")):
        if not math.isfinite(float(number)):
            raise ValueError(f"value and spread must be numbers, got {number!r}")
    setting = {str(key): text(value) for key, value in {**common, **row["setting"]}.items()}
    known = {"experiment", *GROUPS, *known_keys()}
    for key in setting:
        if key not in known:
            raise ValueError(f"setting must name keys of runs, got {key!r}")
    return Figure(**{**row, "setting": setting, "source": source})

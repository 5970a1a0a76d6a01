"""Summarise a run's record in a few lines of text. Imports no torch."""

import math
from collections.abc import Sequence
from pathlib import Path

from imgrec.curve_file import newest_rows
from imgrec.errors import done_over
from imgrec.records import Record, Score
from imgrec.untrusted_text import folded

STARTING = "starting"  # the progress of a run without a step
_COLUMNS = ("top1", "top5", "loss", "iou", "ece")
_OF_UNEQUAL = ("balanced_accuracy", "macro_f1")  # shown where classes of unequal size make them differ from top1
_ALIKE = 5e-5  # of scores that are printed with four digits


def describe(folder: Path, record: Record, *, already: bool, named: bool = False, board: bool = True) -> str:
    """Return the scores, the cost, and the command that opens TensorBoard on the runs of this folder's group.

    Args:
        folder: The run's folder.
        record: The run's record.
        already: True if the run had finished before the command.
        named: True if the command names the folder.
        board: False to leave out the TensorBoard command.
    """
    state = f"{record.status} already" if already else record.status
    lines = [f"{state}: {folder}"]
    if already:
        lines[0] += f"  ({done_over(named=named)})"
    if record.scores:
        lines += ["", scores_table(record.scores), ""]
    if isinstance(lost := record.progress.get("best_lost"), dict):
        lines.append(f"the best of epoch {lost.get('epoch')} is lost: best.ckpt {lost.get('why')}")
    if lost := record.progress.get("curve_rows_lost"):
        lines.append(f"curves.csv lacks {lost} rows")
    if rate := record.cost.get("images_per_second"):
        lines.append(f"trained at {rate:.0f} images/s, {record.cost['seconds']:.0f} s in all")
    if board:
        lines += _board([folder])
    return "\n".join(lines)


def tried(record: Record) -> str:
    """Return what a trial run (trainer.fast_dev_run) did. Its scores are left out, as they come from a few images."""
    steps = record.progress["steps"]
    read = dict.fromkeys(f"{score.split} {score.protocol}" for score in record.scores)
    return (
        f"tried out: {steps} step{'s' if steps != 1 else ''} of training, then {', '.join(read) or 'no reading'};"
        " nothing is recorded (trainer.fast_dev_run)"
    )


def overview(runs: Sequence[tuple[Path, Record]], *, complete: bool = True) -> str:
    """Return a line for each run of a sweep: its folder's name, its top1 and where that was measured.

    Args:
        runs: The folders and records.
        complete: True if no run is left to do. Until then only validation scores are shown, as test scores would
            influence choices.
    """
    width = max(len(folder.name) for folder, _ in runs)
    places = {str(folder.parent) for folder, _ in runs}
    until = "" if complete else " (test scores are shown when no run is left to do)"
    lines = [f"{len(runs)} run{'s' if len(runs) > 1 else ''} in {', '.join(sorted(places))}:{until}"]
    lines += [f"{folder.name:<{width}}  {_told(folder, record, validation=not complete)}" for folder, record in runs]
    return "\n".join([*lines, *_board([folder for folder, _ in runs])])


def _told(folder: Path, record: Record, *, validation: bool) -> str:
    """Return the main number of a run; while it has none, how far it came."""
    if record.status == "finished" or record.scores:
        return headline(record, validation=validation)
    came = progress_of(folder, int(record.config.get("trainer.max_epochs", 0)))
    return record.state if came == STARTING else f"{record.state}  {came}"


def headline(record: Record, *, validation: bool = False) -> str:
    """Return the main number of a run: top1 on the test set if that was opened, else on validation; of best, else last.

    It is measured under `clean`, or else under the first other protocol.

    Args:
        record: The run's record.
        validation: True to never use the test set.
    """
    for split in ("val",) if validation else ("test", "val"):
        for at in ("best", "last"):
            protocols = dict.fromkeys(["clean", *(score.protocol for score in record.scores)])
            for protocol in protocols:
                if score := record.score("top1", split=split, at=at, protocol=protocol):
                    under = "" if protocol == "clean" else f" under {protocol}"
                    return f"{_cell(score.value)}  {split} top1 at {at}{under}"
    return f"{record.state}, no {'validation ' if validation else ''}top1"


def progress_of(folder: Path, max_epochs: int) -> str:
    """Return the progress of a run, from the end of its curves.

    Args:
        folder: The run's folder.
        max_epochs: The number of epochs that the run asks for.
    """
    newest = {(row[2], row[3]): row for row in newest_rows(folder)}
    parts = []
    if row := newest.get(("train", "step_loss")) or newest.get(("val", "top1")):
        parts.append(f"epoch {row[1]}/{max_epochs}  step {row[0]}")
    if row := newest.get(("val", "top1")):
        parts.append(f"val top1 {float(row[4]):.4f}")
    if row := newest.get(("train", "images_per_second")):
        parts.append(f"{float(row[4]):.0f} images/s")
    return "  ".join(parts) or STARTING


def _board(folders: list[Path]) -> list[str]:
    """Return the command that opens TensorBoard on the group of these folders, if one of them has events."""
    groups = {folder.parent: None for folder in folders if (folder / "tensorboard").is_dir()}
    return [f"tensorboard --logdir {group}" for group in groups]


def scores_table(scores: list[Score]) -> str:
    """Return a table with a row for each split, protocol and checkpoint.

    Values are fractions in [0, 1], except the loss.
    """
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for score in scores:
        rows.setdefault((score.split, score.protocol, score.at), {})[score.metric] = score.value
    unequal = any(abs(row.get("balanced_accuracy", 0) - row.get("top1", 0)) > _ALIKE for row in rows.values())
    wanted = (*_COLUMNS, *_OF_UNEQUAL) if unequal else _COLUMNS
    present = [metric for metric in wanted if any(metric in row for row in rows.values())]
    width = max(16, 2 + max((len(folded(protocol)) for _, protocol, _ in rows), default=0))
    heading = [f"{'split':<6}{'protocol':<{width}}{'at':<6}" + "".join(f" {metric:>10}" for metric in present)]
    return "\n".join(
        heading
        + [
            f"{folded(split):<6}{folded(protocol):<{width}}{folded(at):<6}"
            + "".join(
                f" {_cell(values[metric]) if metric in values else '':>{max(10, len(metric))}}" for metric in present
            )
            for (split, protocol, at), values in sorted(rows.items())
        ]
    )


def _cell(value: float) -> str:
    """Format a value in at most ten characters, as a diverged loss has any size."""
    return f"{value:.3e}" if 1e4 <= abs(value) < math.inf else f"{value:.4f}"

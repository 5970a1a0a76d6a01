"""A run's record in a few lines for people. Imports no torch."""

from pathlib import Path

from imgrec.records import Record, Score

_COLUMNS = ("top1", "top5", "loss", "iou", "ece")


def describe(folder: Path, record: Record, *, already: bool) -> str:
    """Scores, cost, and the command that opens TensorBoard on the runs of this folder's group."""
    state = f"{record.status} already" if already else record.status
    lines = [f"{state}: {folder}"]
    if already:
        lines[0] += "  (force=true does it over, in a new folder)"
    if record.scores:
        lines += ["", scores_table(record.scores), ""]
    if rate := record.cost.get("images_per_second"):
        lines.append(f"trained at {rate:.0f} images/s, {record.cost['seconds']:.0f} s in all")
    if (folder / "tensorboard").is_dir():
        lines.append(f"tensorboard --logdir {folder.parent}")
    return "\n".join(lines)


def scores_table(scores: list[Score]) -> str:
    """A row for each split, protocol and checkpoint; fractions in [0, 1] but for the loss."""
    present = [metric for metric in _COLUMNS if any(score.metric == metric for score in scores)]
    rows: dict[tuple[str, str, str], dict[str, float]] = {}
    for score in scores:
        rows.setdefault((score.split, score.protocol, score.at), {})[score.metric] = score.value
    heading = [f"{'split':<6}{'protocol':<16}{'at':<6}" + "".join(f"{metric:>9}" for metric in present)]
    return "\n".join(
        heading
        + [
            f"{split:<6}{protocol:<16}{at:<6}"
            + "".join(f"{values[metric]:>9.4f}" if metric in values else f"{'':>9}" for metric in present)
            for (split, protocol, at), values in sorted(rows.items())
        ]
    )

"""What the records say of the validation split: python experiments/splits/analysis.py [FOLDER].

FOLDER: this one, or another with records/. For validation and test: the deviation of top1 over runs that differ in
their validation split alone, and the deviation that other images alone would give. Needs the dev tools.
"""

import math
import statistics
import sys
from pathlib import Path

from scipy import stats

from imgrec import records


def main(folder: Path) -> str:
    """Return the analysis as Markdown."""
    found = [records.read(path) for path in sorted((folder / "records").glob("*.json"))]
    lines = ["| images | splits | top1 % | deviation | 95 % | of other images |", "| --- |" + " ---: |" * 5]
    for split in ("val", "test"):
        scores = [score for record in found if (score := record.score("top1", split=split, at="last")) is not None]
        values, images = [100 * score.value for score in scores], scores[0].n
        mean, deviation, free = statistics.mean(values), statistics.stdev(values), len(values) - 1
        low, high = (deviation * math.sqrt(free / stats.chi2.ppf(share, free)) for share in (0.975, 0.025))
        other = math.sqrt(mean * (100 - mean) / images)  # of a share among as many images, drawn anew
        lines.append(
            f"| {images} {split} | {len(values)} | {mean:.2f} | {deviation:.2f} | [{low:.2f}, {high:.2f}]"
            f" | {other:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent))

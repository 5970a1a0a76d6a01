"""How long a start over a folder of many small files takes, beside a listing by names and sizes alone."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ratios import Row, ratio

from imgrec.components.data.folder import Folder
from imgrec.data import contents, inventory
from imgrec.data.scan import scan

FILES, BYTES, CLASSES = 100_000, 3_000, 10


def measure(rounds: int) -> list[Row]:
    with TemporaryDirectory() as place:
        root = Path(place, "images")
        os.environ["XDG_CACHE_HOME"] = str(Path(place, "cache"))  # a first start, and a cache that is gone at the end
        _draw(root)
        time.sleep(contents.SETTLED / 1e9)  # what changed a moment ago is not remembered
        first = _seconds(lambda: inventory.take(Folder(root=str(root))))
        figures = [
            (_seconds(lambda: inventory.take(Folder(root=str(root)))), _seconds(lambda: _by_sizes(root)))
            for _ in range(rounds)
        ]
    again, listing = (
        Row(name=name, values=values, unit="s")
        for name, values in zip(("second start", "names and sizes"), zip(*figures, strict=True), strict=True)
    )
    return [
        ratio(f"second start / names and sizes of {FILES} files", again, listing, aim="<= 1.3"),
        *(again, listing, Row(name="first start, which reads each file", values=(first,), unit="s")),
    ]


def _draw(root: Path) -> None:
    for folder in range(CLASSES):
        (root / str(folder)).mkdir(parents=True)
    for number in range(FILES):
        (root / str(number % CLASSES) / f"{number}.png").write_bytes(os.urandom(BYTES))


def _by_sizes(root: Path) -> str:
    """The fingerprint that older records have."""
    listing, digest = scan(str(root)), hashlib.sha256()
    for path in sorted(listing.paths()):
        digest.update(f"{path}\0{(listing.root / path).stat().st_size}\n".encode())
    return digest.hexdigest()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began

"""Read and write predictions.npz: a network's predictions for each image, from a run's final measurement. No torch.

One file contains one run's predictions or, packed, those of many runs. It is a NumPy archive with these arrays:

    images/<digest>/indices, targets               of the N images of a split, which many predictions share
    <run id>/<split>/<protocol>/<at>/images        that digest, as text
    <run id>/<split>/<protocol>/<at>/predicted     the predicted class of each image
    <run id>/<split>/<protocol>/<at>/confidence    the predicted class' probability
    <run id>/<split>/<protocol>/<at>/true          the true class' probability, for wrongly predicted images only
    <run id>/<split>/<protocol>/<at>/calibrated    the confidence after temperature scaling, where it was measured

Probabilities are stored as float16: 5 bytes for each image in all.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from imgrec import disk, value_checks
from imgrec.errors import RunError, shown
from imgrec.text_files import reason, write_bytes

NAME = "predictions.npz"
_MOST = 2**30  # bytes of a file; a thousand runs over 10 000 images take 2**26
MOST_UNPACKED = 2**32
_TYPES: dict[str, np.dtype[Any]] = {
    "indices": np.dtype("<u4"),
    "targets": np.dtype("<u2"),
    "predicted": np.dtype("<u2"),
    "confidence": np.dtype("<f2"),
    "true": np.dtype("<f2"),
    "calibrated": np.dtype("<f2"),
}

Place = tuple[str, str, str]
"""What was measured, and how: split, protocol, and `best` or `last`."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A network's predictions for N images.

    Attributes:
        indices_n: The images' positions in their split, rising (uint32).
        targets_n: The true classes (uint16).
        predicted_n: The predicted classes (uint16).
        confidence_n: The predicted class' probability, in [0, 1] (float16).
        true_n: The true class' probability, in [0, 1] (float16).
        calibrated_n: The predicted class' probability after temperature scaling; None where it was not measured.
    """

    indices_n: NDArray[Any]
    targets_n: NDArray[Any]
    predicted_n: NDArray[Any]
    confidence_n: NDArray[Any]
    true_n: NDArray[Any]
    calibrated_n: NDArray[Any] | None = None

    @property
    def correct_n(self) -> NDArray[np.bool_]:
        """True where the predicted class is the true one."""
        return np.asarray(self.predicted_n == self.targets_n)

    def digest(self) -> str:
        """Return SHA-256 over all arrays, as 64 hexadecimal digits."""
        arrays = [self.indices_n, self.targets_n, self.predicted_n, self.confidence_n, self.true_n]
        if self.calibrated_n is not None:
            arrays.append(self.calibrated_n)
        found = hashlib.sha256()
        for array in arrays:
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def images(self) -> str:
        """Return a digest of the images' positions and true classes, as 16 hexadecimal digits."""
        return hashlib.sha256(self.indices_n.tobytes() + self.targets_n.tobytes()).hexdigest()[:16]


def predicted(
    *,
    indices_n: NDArray[Any],
    targets_n: NDArray[Any],
    predicted_n: NDArray[Any],
    confidence_n: NDArray[Any],
    true_n: NDArray[Any],
    calibrated_n: NDArray[Any] | None = None,
) -> Predicted:
    """Return the arrays, converted to the types in the file."""
    right_n = predicted_n == targets_n
    confidence_n = confidence_n.astype(_TYPES["confidence"])
    return Predicted(
        indices_n=indices_n.astype(_TYPES["indices"]),
        targets_n=targets_n.astype(_TYPES["targets"]),
        predicted_n=predicted_n.astype(_TYPES["predicted"]),
        confidence_n=confidence_n,
        true_n=np.where(right_n, confidence_n, true_n.astype(_TYPES["true"])),
        calibrated_n=None if calibrated_n is None else calibrated_n.astype(_TYPES["calibrated"]),
    )


def beside(record: Path) -> list[Path]:
    """Return where the predictions of a record without a folder may be: beside it, and beside its folder."""
    return [record.parent / NAME, record.parent.parent / NAME]


def key_of(place: Place) -> str:
    """Return the place as a record names it: `test/clean/last`."""
    return "/".join(place)


def write(path: Path, runs: Mapping[str, Mapping[Place, Predicted]]) -> None:
    """Write the predictions of runs, by their ids, completely or not at all.

    Raises:
        RunError: The disk refuses.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for run_id, places in runs.items():
        for place, found in places.items():
            images, own = found.images(), f"{run_id}/{key_of(place)}"
            arrays[f"images/{images}/indices"] = found.indices_n
            arrays[f"images/{images}/targets"] = found.targets_n
            arrays[f"{own}/images"] = np.frombuffer(images.encode("ascii"), np.uint8)
            arrays[f"{own}/predicted"] = found.predicted_n
            arrays[f"{own}/confidence"] = found.confidence_n
            arrays[f"{own}/true"] = found.true_n[~found.correct_n]
            if found.calibrated_n is not None:
                arrays[f"{own}/calibrated"] = found.calibrated_n
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # every name is an array's
    write_bytes(path, buffer.getvalue())


def read(path: Path, *, only: str | None = None) -> dict[str, dict[Place, Predicted]]:
    """Return the predictions of each run in the file, by its id.

    Args:
        path: The file.
        only: The id of the only run to read; None for all.

    Raises:
        RunError: The file contains something else.
    """
    try:
        arrays = _arrays(disk.content(path, most=_MOST), only)
        found: dict[str, dict[Place, Predicted]] = {}
        for name in arrays:
            run_id, *place, part = name.split("/")
            if part == "predicted" and len(place) == 3:
                split, protocol, at = place
                found.setdefault(run_id, {})[split, protocol, at] = _typed(arrays, f"{run_id}/{'/'.join(place)}")
        return found
    except Exception as error:  # a damaged archive can raise any error, as a damaged checkpoint can
        raise RunError(
            f"{shown(path)} must be predictions that imgrec wrote, got {reason(error)}; restore it, or remove it:"
            " tables then tell of seeds alone"
        ) from error


def _arrays(content: bytes, only: str | None) -> dict[str, NDArray[Any]]:
    """Return the archive's arrays.

    It raises some error for a file that is no archive, and for an archive that would need too much memory.
    """
    found: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [
            member
            for member in archive.infolist()
            if only is None or member.filename.partition("/")[0] in ("images", only)
        ]
        size = sum(member.file_size for member in members)
        if size > MOST_UNPACKED:
            raise ValueError(f"{size} bytes when unpacked, and at most {MOST_UNPACKED} are")
        for member in members:
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = _array(file, member)
    return found


def _array(file: IO[bytes], member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array. Its type and length are checked before memory is allocated."""
    if npy.read_magic(file) != (1, 0):
        raise ValueError(f"{value_checks.brief(member.filename)} of another version")
    length, _, dtype = npy.read_array_header_1_0(file)
    part = member.filename.removesuffix(".npy").rpartition("/")[2]
    wanted = np.dtype(np.uint8) if part == "images" else _TYPES.get(part)
    if dtype != wanted or len(length) != 1 or length[0] * dtype.itemsize > member.file_size:
        raise ValueError(f"{value_checks.brief(part)} of {dtype} and shape {value_checks.brief(length)}")
    return np.frombuffer(file.read(length[0] * dtype.itemsize), dtype, count=length[0])


def _typed(arrays: Mapping[str, NDArray[Any]], own: str) -> Predicted:
    """Return the predictions under that name.

    Raises:
        KeyError: An array is missing.
        ValueError: The arrays do not match.
    """
    images = f"images/{arrays[f'{own}/images'].astype(np.uint8).tobytes().decode('ascii')}"
    indices_n, targets_n = (_checked(arrays[f"{images}/{part}"], part) for part in ("indices", "targets"))
    predicted_n, confidence_n, wrong = (
        _checked(arrays[f"{own}/{part}"], part) for part in ("predicted", "confidence", "true")
    )
    calibrated_n = arrays.get(f"{own}/calibrated")
    count = len(indices_n)
    wrong_n = predicted_n != targets_n if len(predicted_n) == len(targets_n) else np.zeros(0, bool)
    lengths = {len(targets_n), len(predicted_n), len(confidence_n)}
    if calibrated_n is not None:
        lengths.add(len(_checked(calibrated_n, "calibrated")))
    if lengths != {count} or int(wrong_n.sum()) != len(wrong):
        raise ValueError(f"arrays of different lengths for {value_checks.brief(own)}")
    true_n = confidence_n.copy()
    true_n[wrong_n] = wrong
    return Predicted(
        indices_n=indices_n,
        targets_n=targets_n,
        predicted_n=predicted_n,
        confidence_n=confidence_n,
        true_n=true_n,
        calibrated_n=calibrated_n,
    )


def _checked(array: NDArray[Any], part: str) -> NDArray[Any]:
    if array.dtype != _TYPES[part] or array.ndim != 1:
        raise ValueError(f"{part} of {array.dtype} in {array.ndim} dimensions, and {_TYPES[part]} in one is right")
    if array.dtype.kind == "f" and not bool(((array >= 0) & (array <= 1)).all()):
        raise ValueError(f"{part} outside [0, 1]")
    return array

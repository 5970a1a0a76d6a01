"""Many files' names in little memory. No torch."""

# N files

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Files(Sequence[tuple[str, int]]):
    """Relative POSIX path and class number of each image.

    All paths lie in one bytes object, with 16 bytes a file beside it. A list of tuples takes over 200 bytes more a
    file, and each forked worker copies it in time, as counting a reference is writing.
    """

    def __init__(self, images: Iterable[tuple[str, int]] = ()) -> None:
        names, ends, labels = bytearray(), array("q", [0]), array("q")
        for path, label in images:
            names += os.fsencode(path)
            ends.append(len(names))
            labels.append(label)
        self._names = bytes(names)
        self._ends: NDArray[np.int64] = np.array(ends, np.int64)
        self.labels_n: NDArray[np.int64] = np.array(labels, np.int64)

    def path(self, index: int) -> str:
        """Raises IndexError outside of [-N, N)."""
        place = range(len(self))[index]
        return os.fsdecode(self._names[self._ends[place] : self._ends[place + 1]])

    def take(self, places: Iterable[int]) -> "Files":
        """Those at `places`, in that order."""
        return Files(self[place] for place in places)

    def __len__(self) -> int:
        return len(self.labels_n)

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> "Files": ...
    def __getitem__(self, index: int | slice) -> "tuple[str, int] | Files":
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        return self.path(index), int(self.labels_n[index])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return (self[index] for index in range(len(self)))

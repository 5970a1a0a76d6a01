"""Store the names of many files in little memory. Imports no torch."""

# N files

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Files(Sequence[tuple[str, int]]):
    """The relative POSIX path and the class number of each image.

    All paths are in one bytes object, with 16 more bytes for each file. A list of tuples takes over 200 bytes more for
    each file, and every forked worker would copy it in time, because counting a reference writes to memory.
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
        """Return the path of a file.

        Raises:
            IndexError: The index is outside of [-N, N).
        """
        place = range(len(self))[index]
        return os.fsdecode(self._names[self._ends[place] : self._ends[place + 1]])

    def take(self, places: Iterable[int]) -> "Files":
        """Return the files at `places`, in that order."""
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

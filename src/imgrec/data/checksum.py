"""Define a published checksum of a file. Imports no torch."""

import hashlib
from dataclasses import dataclass
from typing import Any

_NAMES = {"sha256": "SHA-256", "md5": "MD5"}


@dataclass(frozen=True)
class Checksum:
    """A checksum: SHA-256, or MD5 where the publisher gives no other. Both find damage and another file.

    Attributes:
        kind: `sha256` or `md5`.
        value: The digest in hexadecimal.
    """

    kind: str
    value: str

    def __post_init__(self) -> None:
        if self.kind not in _NAMES:
            raise ValueError(f"kind must be one of {', '.join(_NAMES)}, got {self.kind!r}")

    @property
    def name(self) -> str:
        """The kind as people write it."""
        return _NAMES[self.kind]

    def new(self) -> Any:
        """Return an object of hashlib that computes a checksum of this kind."""
        return hashlib.new(self.kind, usedforsecurity=False)  # MD5 is refused otherwise where FIPS 140 is in force

    def of(self, content: bytes) -> str:
        """Return the checksum of these bytes in hexadecimal."""
        digest = self.new()
        digest.update(content)
        return str(digest.hexdigest())

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


def sha256(value: str) -> Checksum:
    return Checksum("sha256", value)


def md5(value: str) -> Checksum:
    return Checksum("md5", value)

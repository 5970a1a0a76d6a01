"""Define a run that is to be carried out, in plain values that every process can read. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from imgrec import runfolder
from imgrec.config import origins, outside, serialize
from imgrec.config.root import Config
from imgrec.disk import content
from imgrec.errors import UsageError, shown
from imgrec.records import Record

_VERSION = 1
_LARGEST = 16 << 20  # bytes of a job file; a configuration takes about 4 kB


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is to be carried out.

    Attributes:
        config: The whole configuration; `config.resume` names the run whose state it begins with.
        folder: The run's folder.
        run_id: The run's id.
        fingerprint: The fingerprint of the images when the run was requested. The run refuses other images.
        begins_with: What its network begins with, if the configuration does not say it (`run_lookup.begins_with`). The
            run refuses other weights.
        command: The overrides of the run, as its record stores them.
        verbose: True to write the messages of all loggers into train.log, or the names of such loggers.
        code: Digests of the code with which it must be carried out (`codebase.Code`); empty if any code will do.
        has_gpus: True if its process is given GPUs, and must not take the CPU instead.
    """

    config: Config
    folder: Path
    run_id: str
    fingerprint: str
    begins_with: str | None = None
    command: tuple[str, ...] = ()
    verbose: bool | tuple[str, ...] = False
    code: Mapping[str, str] = field(default_factory=dict)
    has_gpus: bool = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def parent(self) -> Path | None:
        """The folder of the run that this one continues, if this one has no state of its own."""
        return Path(self.config.resume) if self.config.resume else None

    def record(self) -> Record | None:
        """Return the record in the run's folder; None before the run begins."""
        return runfolder.look(self.folder)

    def to_json(self) -> str:
        """Return the job as JSON text, with an absolute folder and the files whose components are loaded."""
        rows: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(Job)}
        rows |= {"job": _VERSION, "config": serialize.flat(self.config), "folder": str(self.folder.absolute())}
        rows["components"] = [[file.path, file.sha256] for file in outside.loaded()]
        return json.dumps(rows)

    @classmethod
    def from_json(cls, text: str, source: str) -> Self:
        """Return the job that `to_json` wrote, and load its files of components.

        Args:
            text: The JSON text.
            source: The name of the text for the error message, such as its file.

        Raises:
            UsageError: The text is no job, its configuration is invalid in this version, or a file has changed.
        """
        try:
            rows = json.loads(text)
            version = rows.pop("job")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise _no_job(source, "it is no JSON object with a job's version") from error
        if version != _VERSION:
            raise _no_job(source, f"it has version {version!r}, and this one reads {_VERSION}")
        kinds = {"config": dict, "folder": str, "run_id": str, "fingerprint": str, "command": list}
        for key, kind in kinds.items():
            if not isinstance(rows.get(key), kind):
                raise _no_job(source, f"{key} is {rows.get(key)!r}")
        try:
            files = [origins.File(path=str(path), sha256=str(digest)) for path, digest in rows.get("components", [])]
        except (TypeError, ValueError) as error:
            raise _no_job(source, f"components is {rows['components']!r}") from error
        outside.load_files(files)
        verbose, code = rows.get("verbose"), rows.get("code") or {}
        if not isinstance(code, dict):
            raise _no_job(source, f"code is {code!r}")
        return cls(
            config=serialize.from_flat(rows["config"]),
            folder=Path(rows["folder"]),
            run_id=rows["run_id"],
            fingerprint=rows["fingerprint"],
            begins_with=None if rows.get("begins_with") is None else str(rows["begins_with"]),
            command=tuple(map(str, rows["command"])),
            verbose=tuple(map(str, verbose)) if isinstance(verbose, list) else bool(verbose),
            code={str(name): str(digests) for name, digests in code.items()},
            has_gpus=bool(rows.get("has_gpus")),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the job in a file.

        Raises:
            UsageError: As in `from_json`, or the file cannot be read.
        """
        try:
            text = content(path, most=_LARGEST).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _no_job(shown(path), str(getattr(error, "strerror", None) or error)) from error
        return cls.from_json(text, shown(path))


def _no_job(source: str, reason: str) -> UsageError:
    return UsageError(
        f"{source} must hold a job that imgrec wrote, and cannot be read: {reason}; start the run with imgrec train"
    )

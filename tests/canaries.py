"""Create Python files that must never be imported, with the names of modules that a process imports."""

from pathlib import Path

_MODULES = (
    *("torch", "lightning", "numpy", "yaml", "omegaconf", "hydra", "typer", "rich"),
    *("signal", "random", "typing", "dataclasses", "pathlib", "pickle", "selectors", "socket", "struct", "traceback"),
    *("multiprocessing", "subprocess", "logging", "inspect", "json", "csv", "hashlib", "string", "tempfile"),
)


def plant(folder: Path) -> Path:
    """Lay the files in that folder. Returns where one that is run writes its name."""
    sung = folder / "sung"
    for name in _MODULES:
        (folder / f"{name}.py").write_text(f"open({str(sung)!r}, 'a').write('{name}\\n')\nraise SystemExit(99)\n")
    return sung

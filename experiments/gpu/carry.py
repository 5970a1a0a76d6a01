"""Prepare what the check of a GPU needs on a machine without a network, and put it in place there.

python experiments/gpu/carry.py pack DEST [--mib 60]     here: wheels, and CIFAR-10 in parts of so many MiB
python experiments/gpu/carry.py unpack DEST              there: install the wheels, and write data/cifar-10-batches-py

`pack` takes CIFAR-10 from $IMGREC_DATA_DIR or data/. The machine must have PyTorch, torchvision, Lightning and
torchmetrics, and the version of Python that packs; everything else that imgrec and its tests need is carried.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
THERE = ("torch", "torchvision", "lightning", "torchmetrics")  # and what they need in turn
DATA, SUMS = "cifar-10-batches-py", "sums.json"
TOOLS = ("pytest", "pytest-timeout", "editables")  # of the tests, and of an editable installation


def pack(folder: Path, mib: int) -> None:
    """Write the wheels, the parts of the data and their SHA-256."""
    root = Path(os.environ.get("IMGREC_DATA_DIR") or ROOT / "data")
    if not (root / DATA).is_dir():
        sys.exit(f"{root} must hold {DATA}; name its folder in IMGREC_DATA_DIR")
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = (*ours["build-system"]["requires"], *ours["project"]["dependencies"], *TOOLS)
    wanted = [each for each in needed if _name(each) not in THERE]
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels), *wanted]
    subprocess.run(command, check=True)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(root / DATA, arcname=DATA)
    sums, size = dict[str, str](), mib * 2**20
    for number, start in enumerate(range(0, content.getbuffer().nbytes, size)):
        part = content.getvalue()[start : start + size]
        name = f"data-{number:02}"
        (folder / name).write_bytes(part)
        sums[name] = hashlib.sha256(part).hexdigest()
    (folder / SUMS).write_text(json.dumps(sums, indent=1) + "\n")
    print(f"{len(list(wheels.iterdir()))} packages and {len(sums)} parts of the data in {folder}")


def unpack(folder: Path) -> None:
    """Install the wheels and imgrec, and write the data."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, *map(str, sorted((folder / "wheels").iterdir()))], check=True)
    subprocess.run([*pip, "--editable", str(ROOT)], check=True)
    content = io.BytesIO()
    for name, sha256 in sorted(json.loads((folder / SUMS).read_text()).items()):
        if not (folder / name).is_file():
            sys.exit(f"{folder} must hold {name}; carry it as well")
        part = (folder / name).read_bytes()
        if hashlib.sha256(part).hexdigest() != sha256:
            sys.exit(f"{folder / name} must have the SHA-256 {sha256}; carry it again")
        content.write(part)
    content.seek(0)
    with tarfile.open(fileobj=content, mode="r:gz") as archive:
        archive.extractall(ROOT / "data", filter="data")
    print(f"CIFAR-10 is in {ROOT / 'data'}; next: python experiments/gpu/check.py")


def _name(requirement: str) -> str:
    """The package that a requirement is about."""
    return requirement.split(">")[0].split("<")[0].split("=")[0].split("[")[0].split("!")[0].split(";")[0].strip()


def main() -> None:
    """Carry out `pack` or `unpack`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "unpack"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mib", type=int, default=60, help="the largest part of the data")
    options = parser.parse_args()
    if options.what == "pack":
        pack(options.folder, options.mib)
    else:
        unpack(options.folder)


if __name__ == "__main__":
    main()

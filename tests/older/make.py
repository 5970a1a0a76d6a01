"""Write the files of the present imgrec, for tests of later versions: python tests/older/make.py ARCHIVE.

Run it in a clean clone, so that the records name a commit. tests/test_older.py uses the files in the archive.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

# The words and images are this script's own: those of the suite may change, and these stand for what was written.
CLONE = Path(__file__).resolve().parents[2]
NETWORKS = (
    "model=cnn",
    "model=cnn model.batch_norm=true model.depth=2",
    "model=whitened_cnn",
    "model=resnet18",
    "model=resnet50 model.stem=imagenet",
)
BASE = (
    "data=folder",
    "data.root=images",
    "data.image_size=8",
    "data.batch_size=8",
    "data.val_size=12",
    "data.test_size=12",
    "model.widths=[4,8]",
    "model.hidden=16",
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.log_every=1",
    "trainer.progress=none",
    "trainer.tensorboard=false",
    "trainer.max_epochs=4",
)
RUNS = {
    "plain": ("optimizer=adam", "augment=crop_flip", "model.dropout=0.3"),
    "average": ("optimizer=momentum", "schedule=cosine", "trainer.ema_decay=0.8"),
    "pruned": ("optimizer=adam", "augment=crop_flip", "data.prune=0.4"),
    "distributed": ("optimizer=sgd", "trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4"),
}
SHORT = (*BASE, "trainer.max_epochs=2")
SWEEP = ("-m", *SHORT, "optimizer=sgd,adam", "seed=0,1,2", "hydra.sweep.dir=sweep")
TUNED = ("-m", *SHORT, "sweep=tuned", 'sweep.tune=["optimizer.lr_scale=0.3,1"]', "seed=0,1", "hydra.sweep.dir=tuned")
SEARCH = ("-m", *SHORT, "sweep=optuna", "optimizer.lr=tag(log, interval(0.001, 0.1))", "hydra.sweep.dir=search")

# ends a command by SIGTERM after so many steps of all its runs
ENDED = """
import os, signal, sys
from imgrec.training.progress import Speed
left, step = int(sys.argv.pop(1)), Speed.on_train_batch_end
def counted(*arguments):
    global left
    step(*arguments)
    left -= 1
    if left == 0 and not int(os.environ.get("LOCAL_RANK", "0")):
        os.kill(os.getpid(), signal.SIGTERM)
Speed.on_train_batch_end = counted
from imgrec.cli import main
main()
"""


def imgrec(*words: str, steps: int | None = None) -> None:
    """Carry out a command; steps: end it by SIGTERM after so many."""
    command = ["-m", "imgrec"] if steps is None else ["-c", ENDED, str(steps)]
    done = subprocess.run([sys.executable, *command, *words], env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == (0 if steps is None else 128 + signal.SIGTERM), words


def draw_images(root: Path) -> None:
    """Three classes of 28 drawn 8x8 images: a bright row, column or diagonal, with noise."""
    random = np.random.default_rng(0)
    masks = {"row": np.eye(8)[[3] * 8].T, "column": np.eye(8)[[3] * 8], "diagonal": np.eye(8)}
    for name, mask in masks.items():
        (root / name).mkdir(parents=True)
        for number in range(28):
            pixels = 120 * mask + random.integers(0, 120, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number:02}.png")


def parameters() -> dict[str, dict[str, list[int]]]:
    """Name and shape of each tensor of each network's state."""
    from imgrec.config.compose import compose
    from imgrec.models.build import build

    found = {}
    for words in NETWORKS:
        model = compose(["data=digits", *words.split()]).model
        net = build(model, num_classes=10, image_size=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3, fetch=False)
        found[words] = {name: list(value.shape) for name, value in net.state_dict().items()}
    return found


def main(archive: Path) -> None:
    """Draw the images, train, and pack the folder."""
    archive = archive.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        draw_images(Path("images"))
        for name, words in RUNS.items():
            imgrec("train", *BASE, *words, f"hydra.run.dir=whole/{name}")
            imgrec("train", *BASE, *words, f"hydra.run.dir=cut/{name}", steps=19)
        imgrec("train", *SWEEP, steps=3 * 16 + 11)
        imgrec("train", *TUNED, steps=3 * 16 + 11)
        imgrec("train", *SEARCH, "sweep.trials=3")
        imgrec("table", "sweep", "--format", "csv", "-o", "sweep.csv")
        Path("parameters.json").write_text(json.dumps(parameters(), indent=1) + "\n")
        for asked in Path().rglob("multirun.yaml"):
            text = asked.read_text().replace(str(CLONE), "/clone").replace(str(Path.cwd()), "/runs")
            asked.write_text(text.replace(sys.prefix, "/environment"))
        for leftover in [*Path().rglob("__pycache__"), *Path().rglob("hparams-*")]:
            shutil.rmtree(leftover)
        with tarfile.open(archive, "w:xz") as packed:
            for path in sorted(Path().iterdir()):
                packed.add(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

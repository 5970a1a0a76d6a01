"""Give a program what a command stands for: the choices there are, and the parts of a run for its own trainer."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning

from imgrec import assembly, run_lookup, runlog
from imgrec.classifier import Classifier
from imgrec.config import folders, outside, schemas
from imgrec.config.compose import compose as composed
from imgrec.config.fields import choice
from imgrec.config.listed import LISTS
from imgrec.config.root import GROUPS, Config
from imgrec.data import inventory
from imgrec.datamodule import ImageData
from imgrec.errors import StrPath, UsageError
from imgrec.training.process_state import random_states_kept


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice of an axis.

    Attributes:
        explanation: What it is, in a sentence.
        settings: The values that it gives to the keys of its axis.
    """

    explanation: str
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a run.

    Attributes:
        module: The network with its loss, scores, optimizer and schedule, at its initial weights.
        data: The images with their splits, augmentation and loaders.
        config: The configuration.
    """

    module: Classifier
    data: ImageData
    config: Config


def choices(axis: str, *, config_dir: StrPath | None = None) -> dict[str, Choice]:
    """Return the choices of an axis by name: imgrec's, and the user's own that are loaded.

    Args:
        axis: Such as `optimizer`, `loss`, `data`; or `protocol`, `callback`, `logger`.
        config_dir: A folder of the user's own choices, as for `train`.

    Raises:
        UsageError: There is no such axis.
    """
    choice("axis", axis, (*GROUPS, *LISTS))
    with folders.also(config_dir):
        outside.load()
        return {
            name: Choice(
                explanation=schemas.explanation(axis, name),
                settings={key: value for key, value in schemas.settings(axis, name).items() if key != "name"},
            )
            for name in schemas.choices(axis)
        }


def compose(overrides: Sequence[str], *, config_dir: StrPath | None = None) -> Parts:
    """Return the parts of the run that these words stand for, for a `lightning.Trainer` of the caller's own.

    The network begins with the weights that the run would begin with, and the batches are the run's. What imgrec adds
    to the training is not among the parts: exact resuming, the record, and what the keys of `trainer` and `callbacks`
    do, but for `trainer.max_epochs`, which the caller gives to the Trainer. The Trainer needs
    `use_distributed_sampler=False` if it has several devices, as the loaders divide the images themselves. A checkpoint
    of the Trainer's is one for `imgrec.load` and `imgrec evaluate`. Random states are left as found.

    Args:
        overrides: `key=value`, as for `train`.
        config_dir: A folder of the user's own choices, as for `train`.

    Raises:
        UsageError: The words are invalid.
        RunError: The images cannot be read.
    """
    with runlog.shown(), folders.also(config_dir):
        outside.load()
        config = composed(overrides)
        for key in ("resume", "force"):
            if getattr(config, key):
                raise UsageError(f"{key} belongs to imgrec.train, and imgrec.compose trains nothing; leave it out")
        seen = inventory.take(config.data)
        source = assembly.source(config, seen.listing)
        trained_elsewhere = f"parts of {run_lookup.identity(config, seen.fingerprint)}"
        with random_states_kept():
            lightning.seed_everything(config.seed if config.init_seed is None else config.init_seed, verbose=False)
            module = assembly.classifier(
                config,
                source,
                run_id=hashlib.sha256(trained_elsewhere.encode()).hexdigest(),  # as the caller trains otherwise
                fingerprint=seen.fingerprint,
                resumed=False,
            )
        return Parts(module=module, data=assembly.datamodule(config, source), config=config)

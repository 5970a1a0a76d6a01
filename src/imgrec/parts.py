"""Give a program what a command stands for: the choices there are, and the parts of a run for its own trainer."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning

from imgrec import assembly, initial, preflight, run_lookup, runlog
from imgrec.classifier import Classifier
from imgrec.config import folders, outside, schemas
from imgrec.config.compose import compose as composed
from imgrec.config.fields import choice, default_of, is_identity
from imgrec.config.listed import LISTS
from imgrec.config.root import GROUPS, Config
from imgrec.data import inventory
from imgrec.datamodule import ImageData
from imgrec.errors import StrPath, UsageError
from imgrec.training.process_state import random_states_kept

_OF_PARTS = ("max_epochs", "channels_last", "compile")  # keys of `trainer` that the caller or the module carries out


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
    to the training is not among the parts: exact resuming, the record, and what callbacks do. Keys that need them are
    refused. The caller gives `trainer.max_epochs` to the Trainer, and `use_distributed_sampler=False` if it has several
    devices, as the loaders divide the images themselves. A checkpoint of the Trainer's is one for `imgrec.load` and
    `imgrec evaluate`. Random states are left as found.

    Args:
        overrides: `key=value`, as for `train`.
        config_dir: A folder of the user's own choices, as for `train`.

    Raises:
        UsageError: The words are invalid, or ask for what the parts cannot do by themselves.
        RunError: The images, or the weights that `init_from` names, cannot be read.
    """
    with runlog.shown(), folders.also(config_dir):
        outside.load()
        config = composed(overrides)
        _refuse_what_needs_more(config)
        preflight.check_network(config)
        seen = inventory.take(config.data)
        source = assembly.source(config, seen.listing)
        begins_with = run_lookup.begins_with(config, seen)
        identity = run_lookup.identity(config, seen.fingerprint, begins_with=begins_with)
        with random_states_kept():
            lightning.seed_everything(config.seed if config.init_seed is None else config.init_seed, verbose=False)
            module = assembly.classifier(
                config,
                source,
                run_id=hashlib.sha256(f"parts of {identity}".encode()).hexdigest(),  # as the caller trains otherwise
                fingerprint=seen.fingerprint,
                resumed=False,
                begins_with=None if config.init_from is None else initial.read(config.init_from, expected=begins_with),
            )
        return Parts(module=module, data=assembly.datamodule(config, source), config=config)


def _refuse_what_needs_more(config: Config) -> None:
    """Refuse keys that change the training and that only imgrec's own training carries out.

    Raises:
        UsageError: One is given.
    """
    given = [key for key in ("resume", "force") if getattr(config, key)]
    given += [f"model.{key}" for key in ("unfreeze_at",) if getattr(config.model, key)]
    given += [f"data.{key}" for key in ("prune",) if getattr(config.data, key)]
    given += [f"optimizer={config.optimizer.name}"] if config.optimizer.averages else []
    given += ["callbacks"] if config.callback else []
    given += [
        f"trainer.{field.name}"
        for field in config.trainer.settings()
        if is_identity(field)
        and field.name not in _OF_PARTS
        and getattr(config.trainer, field.name) != default_of(field)
    ]
    if given:
        raise UsageError(
            f"imgrec.compose gives the parts of a run for a Trainer of your own, and only imgrec.train carries out"
            f" {', '.join(given)}; leave it out, or use imgrec.train"
        )

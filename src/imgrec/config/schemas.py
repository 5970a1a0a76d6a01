"""Which dataclass stands behind which name, and where conf/ lies. The only list of what an axis can be."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from imgrec.config import augment, data, launcher, loss, model, optimizer, schedule, sweep, trainer
from imgrec.config.fields import default_of, is_identity
from imgrec.config.root import GROUPS, Config
from imgrec.errors import UsageError

SCHEMAS: dict[str, dict[str, type]] = {
    "data": {"cifar10": data.Cifar10, "digits": data.Digits, "folder": data.Folder},
    "augment": {"augment": augment.Augment},
    "model": {
        "cnn": model.Cnn,
        "whitened_cnn": model.WhitenedCnn,
        "resnet18": model.Resnet18,
        "resnet50": model.Resnet50,
    },
    "loss": {
        "cross_entropy": loss.CrossEntropy,
        "label_smoothing": loss.LabelSmoothing,
        "mse": loss.Mse,
        "brier": loss.Brier,
        "focal": loss.Focal,
        "hinge": loss.Hinge,
    },
    "optimizer": {
        "sgd": optimizer.Sgd,
        "momentum": optimizer.Momentum,
        "adam": optimizer.Adam,
        "adamw": optimizer.AdamW,
        "adagrad": optimizer.Adagrad,
        "rmsprop": optimizer.RmsProp,
        "muon": optimizer.Muon,
        "muon_sgd": optimizer.MuonSgd,
    },
    "schedule": {
        "constant": schedule.Constant,
        "step": schedule.Step,
        "cosine": schedule.Cosine,
        "linear": schedule.Linear,
        "one_cycle": schedule.OneCycle,
    },
    "trainer": {"trainer": trainer.Trainer},
    "launcher": {"basic": launcher.Basic, "pool": launcher.Pool},
    "sweep": {"grid": sweep.Grid, "tuned": sweep.Tuned, "optuna": sweep.Optuna},
}


def conf_dir() -> Path:
    """The folder of YAML choices: inside the package in a wheel, at the repository's top in an editable install."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UsageError(f"conf/config.yaml must lie in {package} or beside src/, found neither; install imgrec again")


def register() -> None:
    """Make the dataclasses known to Hydra. Calling it again changes nothing, unless the environment has."""
    _register(data.default_root())


@functools.lru_cache(maxsize=1)  # an eighth of a composition
def _register(root: str) -> None:
    """root: the one default that comes from the environment, when it is registered."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for axis, schemas in SCHEMAS.items():
        for name, node in schemas.items():
            store.store(group=axis, name=f"{name}_schema", node=node)


def choices(axis: str) -> list[str]:
    """The names that `axis=` takes, as files of conf/<axis>."""
    return sorted(path.stem for path in (conf_dir() / axis).glob("*.yaml"))


def settings(axis: str, name: str) -> dict[str, Any]:
    """The values that a choice of an axis gives its dataclass: those of its file, and the defaults of the rest.

    Raises yaml.YAMLError for a file that is no YAML.
    """
    given = OmegaConf.to_container(OmegaConf.load(conf_dir() / axis / f"{name}.yaml"))
    values: dict[str, Any] = {}
    if isinstance(given, dict):
        for base in given.pop("defaults", None) or ():
            schema = SCHEMAS[axis].get(str(base).removesuffix("_schema"))
            if schema is not None and str(base).endswith("_schema"):
                values |= {field.name: default_of(field) for field in dataclasses.fields(schema)}
            elif base != name and base in choices(axis):
                values |= settings(axis, base)
        values |= {str(key): value for key, value in given.items()}
    return values


def recorded_name(axis: str, name: str) -> str:
    """What records call a choice: `momentum` for optimizer=momentum_plain."""
    return str(settings(axis, name).get("name", name))


def explanation(axis: str, name: str) -> str:
    """The line that explains a choice: the first comment of its file."""
    for line in (conf_dir() / axis / f"{name}.yaml").read_text("utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def known_keys() -> Iterator[str]:
    """Every dotted key of the root and of all choices of all axes, each once."""
    seen = set()
    for field in dataclasses.fields(Config):
        if field.name not in GROUPS:
            seen.add(field.name)
            yield field.name
    for axis, schemas in SCHEMAS.items():
        for schema in schemas.values():
            for field in dataclasses.fields(schema):
                key = f"{axis}.{field.name}"
                if field.name != "name" and key not in seen:
                    seen.add(key)
                    yield key


def keys_outside_identity() -> set[str]:
    """The dotted keys that are no part of what a run is: paths, workers, logging, hardware, the command's own."""
    own = [field for field in dataclasses.fields(Config) if field.name not in GROUPS]
    outside = {field.name for field in own if not is_identity(field)}
    for axis, schemas in SCHEMAS.items():
        for schema in schemas.values():
            for field in dataclasses.fields(schema):
                if field.name != "name" and not is_identity(field):
                    outside.add(f"{axis}.{field.name}")
    return outside

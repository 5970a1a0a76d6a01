"""What Hydra and OmegaConf refuse, said as one sentence: key, rule, value, way out."""

import dataclasses
import re

from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from imgrec.config.fields import nearest
from imgrec.config.root import GROUPS, Config
from imgrec.config.schemas import SCHEMAS, choices, known_keys
from imgrec.errors import UsageError

# What people call a key elsewhere -> what it is called here.
SYNONYMS = {
    "learning_rate": "optimizer.lr",
    "eta": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "n_epochs": "trainer.max_epochs",
    "bs": "data.batch_size",
    "batch": "data.batch_size",
    "workers": "data.num_workers",
    "gpus": "trainer.devices",
    "amp": "trainer.precision",
    "ema": "trainer.ema_decay",
    "clip": "trainer.gradient_clip",
    "grad_clip": "trainer.gradient_clip",
}


def unknown_choice(axis: str, value: str) -> UsageError:
    """The refusal of a name that conf/<axis> does not have."""
    known = choices(axis)
    guess = nearest(value, known)
    hint = f"; did you mean {axis}={guess}?" if guess else ""
    return UsageError(f"{axis} must be one of {', '.join(known)}, got {value!r}{hint}")


def unknown_key(key: str, owner: type) -> UsageError:
    """The refusal of a key that `owner`, the dataclass in that place, does not have; names the nearest that exists."""
    parent, _, leaf = key.rpartition(".")
    siblings = [field.name for field in dataclasses.fields(owner) if field.name != "name"]
    where = f" ({owner.__name__} has {', '.join(siblings)})" if parent else "; imgrec train --help lists the keys"
    if near := _sibling(parent, leaf, siblings):
        return UsageError(f"{key} is not a key; did you mean {near}?{where}")
    if owners := [name for name, schema in SCHEMAS.get(parent, {}).items() if _has(schema, leaf)]:
        return UsageError(f"{key} is not a key of this choice, only of {parent}={'|'.join(owners)}{where}")
    leaves = {name.rpartition(".")[2]: name for name in known_keys()}
    near = SYNONYMS.get(leaf) or leaves.get(nearest(leaf, leaves, cutoff=0.75) or "")
    return UsageError(f"{key} is not a key; {f'did you mean {near}?' if near else 'remove it'}{where}")


def _sibling(parent: str, leaf: str, siblings: list[str]) -> str | None:
    synonym_parent, _, synonym = SYNONYMS.get(leaf, "").rpartition(".")
    found = synonym if synonym_parent == parent and synonym in siblings else nearest(leaf, siblings)
    if not found:
        return None
    return f"{parent}.{found}" if parent else found


def _has(schema: type, leaf: str) -> bool:
    return leaf in (field.name for field in dataclasses.fields(schema))


def explained(error: BaseException) -> UsageError:
    """Hydra's or OmegaConf's refusal as one sentence, from the innermost cause that knows the key."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return _explained_key(cause, str(cause.full_key))
        cause = cause.__cause__
    first_line = str(error).strip().splitlines()[0].rstrip(".")
    return UsageError(f"{first_line}; imgrec train --help lists the keys")


def _explained_key(error: OmegaConfBaseException, key: str) -> UsageError:
    if isinstance(error, MissingMandatoryValue):
        what = "one of " + ", ".join(choices(key)) if key in GROUPS else "a value"
        return UsageError(f"{key} must be given, it has no default; add {key}=... ({what})")
    if isinstance(error, (ConfigKeyError, AttributeError)):
        owner = error.object_type
        return unknown_key(key, owner if isinstance(owner, type) and dataclasses.is_dataclass(owner) else Config)
    first_line = re.sub(r" of type '\w+'", "", str(error.msg or error).strip().splitlines()[0]).rstrip(".")
    return UsageError(f"{key}: {first_line[0].lower()}{first_line[1:]}; give a value of the right type")

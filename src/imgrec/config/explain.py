"""Turn errors of Hydra and OmegaConf into one sentence each: key, rule, value, advice."""

import dataclasses
import re

import yaml
from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from imgrec.config import folders, listed, yaml_files
from imgrec.config.fields import nearest
from imgrec.config.listed import LISTS
from imgrec.config.outside import KINDS
from imgrec.config.registry import components
from imgrec.config.root import GROUPS, Config
from imgrec.config.schemas import choices, known_keys
from imgrec.errors import UsageError

# Common names of a key elsewhere, with its name here.
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
    "kfold": "data.folds",
    "drop_path_rate": "model.drop_path",
    "stochastic_depth": "model.drop_path",
}


def unknown_choice(axis: str, value: str) -> UsageError:
    """Return the error for a name that conf/<axis> does not have."""
    known = choices(axis)
    guess = nearest(value, known)
    own = "--components FILE or --config-dir DIR" if axis in KINDS and axis not in LISTS else "--components FILE"
    own = f"; one of your own needs {own if axis in KINDS else '--config-dir DIR'}"
    hint = f"; did you mean {f'{axis}.{guess}' if axis in LISTS else f'{axis}={guess}'}?" if guess else own
    return UsageError(f"{axis} must be one of {', '.join(known)}, got {value!r}{hint}")


def unknown_key(key: str, owner: type) -> UsageError:
    """Return the error for a key that the dataclass `owner` does not have. It names the nearest key that exists."""
    parent, _, leaf = key.rpartition(".")
    axis, _, rest = key.partition(".")
    if axis in LISTS and rest and rest.partition(".")[0] not in components(axis):
        return unknown_choice(axis, rest.partition(".")[0])
    owner = listed.schema_of(parent) or owner
    siblings = [LISTS.get(field.name, field.name) for field in dataclasses.fields(owner) if field.name != "name"]
    where = (
        f" ({owner.__name__} has {', '.join(siblings) or 'no settings'})"
        if parent
        else "; imgrec train --help all lists the keys"
    )
    if near := _sibling(parent, leaf, siblings):
        return UsageError(f"{key} is not a key; did you mean {near}?{where}")
    if owners := [name for name, schema in components(parent).items() if _has(schema, leaf)]:
        choose = f"choose {parent}={'|'.join(owners)}" if len(owners) == 1 else "choose one of these"
        return UsageError(
            f"{key} is not a key of this choice, only of {parent}={'|'.join(owners)}{where}; {choose}, or leave it out"
        )
    leaves = {name.rpartition(".")[2]: name for name in known_keys()} | dict(LISTS)
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
    """Return the error of Hydra or OmegaConf as one sentence, from the innermost cause that knows the key.

    The sentence begins with the file if the error is in a file of conf/.
    """
    if isinstance(error, yaml.YAMLError):
        return yaml_files.broken(error)
    name = re.match(r"In '([^']+)': ", str(error))
    where = "" if name is None or name[1] == "config" else f"{folders.file_of(name[1])}: "
    if name is not None and (bare := _without_package(name[1])):
        return bare
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            if bare := _without_package(str(cause.full_key).partition(".")[0]):
                return bare
            return UsageError(f"{where}{_explained_key(cause, str(cause.full_key))}")
        # Hydra names the file in its own exception, which it raises while it handles the exception that knows the key
        cause = cause.__cause__ or (cause.__context__ if isinstance(cause, ConfigCompositionException) else None)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(str(error.missing_cfg_file), where)
    if where and (found := re.search(r"Could not override '/?([^']+)'", str(error))):
        guess = nearest(found[1], GROUPS)
        hint = f"; did you mean {guess}?" if guess else ""
        return UsageError(f"{where}defaults must override one of {', '.join(GROUPS)}, got {found[1]}{hint}")
    first_line = str(error).strip().splitlines()[0].rstrip(".")
    return UsageError(f"{first_line}; imgrec train --help all lists the keys")


def _without_package(place: str) -> UsageError | None:
    """Return the error for a recipe or a study that Hydra would put below a key of its own; None if there is none.

    Args:
        place: `study/mine` for a file, `study` for any of them. Other places are never an error.
    """
    axis, _, stem = place.partition("/")
    if axis in ("experiment", "study"):
        for path in folders.files(axis):
            if stem in ("", path.stem) and not re.search(
                r"^#\s*@package\s+_global_\s*$", path.read_text("utf-8", "replace"), re.MULTILINE
            ):
                return UsageError(
                    f"{folders.file_of(f'{axis}/{path.stem}')}: a file of conf/{axis} must begin with the line"
                    " '# @package _global_', so that its keys are those of a run; add it"
                )
    return None


def _missing(name: str, where: str) -> UsageError:
    """Return the error for an unknown choice in the defaults of a file.

    Args:
        name: The choice as Hydra names it, such as `data/digits`.
        where: The beginning of the sentence, which names the file; "" if unknown.
    """
    axis, _, value = name.removeprefix("/").rpartition("/")
    if value.endswith("_schema") and components(axis):
        known = [f"{schema}_schema" for schema in components(axis)]
    else:
        known = choices(axis) if axis else []
    if not where:  # Hydra names the primary file, even if another file names the choice
        named = re.compile(rf"/?{re.escape(axis)}\s*:\s*[\"']?{re.escape(value)}\b")
        naming = [path for path in folders.files() if named.search(path.read_text("utf-8"))]
        where = f"{folders.relative(naming[0])}: " if naming else ""
    guess = nearest(value, known)
    hint = f"; did you mean {guess}?" if guess else ""
    return UsageError(f"{where}defaults must name one of {', '.join(known)} for {axis}, got {value!r}{hint}")


def _explained_key(error: OmegaConfBaseException, key: str) -> UsageError:
    if isinstance(error, MissingMandatoryValue):
        axis, _, leaf = key.partition(".")
        if axis in GROUPS and leaf == "name":
            return _without_schema(axis)
        what = "one of " + ", ".join(choices(key)) if key in GROUPS else "a value"
        return UsageError(f"{key} must be given, it has no default; add {key}=... ({what})")
    if isinstance(error, (ConfigKeyError, AttributeError)):
        owner = error.object_type
        return unknown_key(key, owner if isinstance(owner, type) and dataclasses.is_dataclass(owner) else Config)
    first_line = re.sub(r" of type '\w+'", "", str(error.msg or error).strip().splitlines()[0]).rstrip(".")
    if told := re.match(r"While dereferencing interpolation '(.+)': Value '(.*)'.* converted to (\w+)", first_line):
        return UsageError(
            f"{key} must be of the type {told[3]}, and {told[1]} stands for {told[2]!r}; refer to a key of that type"
        )
    if isinstance(error, (InterpolationKeyError, InterpolationResolutionError)):
        reason = f"{first_line[0].lower()}{first_line[1:]}"
        return UsageError(
            f"{key} must refer to a key of the configuration, such as ${{seed}}: {reason}; imgrec train --help all"
            " lists the keys"
        )
    if kind := re.search(r"(\w+) is not a ListConfig", first_line):
        return UsageError(f"{key} must be a list, got a value ({kind[1]}); put it into brackets: '{key}=[...]'")
    if key in LISTS:
        return UsageError(
            f"{key} holds settings, such as {key}.NAME.KEY=VALUE, and names nothing; name what is wanted:"
            f" {LISTS[key]}=[NAME]"
        )
    way_out = "give a value of the right type"
    if several := re.match(r"Value '\[?(\d+) ?(\.\.+|[-:,]) ?(\d+)\]?' could not be converted to", first_line):
        first, separator, last = several.groups()
        listed = f"{key}={first},{last}" if separator == "," else f"'{key}=range({first},{int(last) + 1})'"
        way_out = f"give one number, or several with -m: {listed}"
    return UsageError(f"{key}: {first_line[0].lower()}{first_line[1:]}; {way_out}")


def _without_schema(axis: str) -> UsageError:
    """Return the error for a file that does not name the dataclass of its values."""
    files = [path for path in folders.files(axis) if "defaults" not in path.read_text("utf-8")]
    where = (
        ", ".join(str(folders.file_of(f"{axis}/{path.stem}")) for path in files) or f"the chosen file of conf/{axis}"
    )
    known = ", ".join(f"{name}_schema" for name in components(axis))
    return UsageError(
        f"{where}: it must name its schema; add a line such as defaults: [{known.partition(',')[0]}] ({known})"
    )

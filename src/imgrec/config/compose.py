"""Command-line overrides -> one checked, typed configuration. Imports no torch.

Hydra composes the choices of conf/ over the dataclasses of this folder.
"""

import contextlib
import copy
import dataclasses
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config import declaration, plain, schemas
from imgrec.config.explain import explained, file_of, unknown_choice, unknown_key
from imgrec.config.fields import nearest
from imgrec.config.root import GROUPS, Config
from imgrec.errors import UsageError

# Hydra's own settings that a command may give. Others start code by name: a callback's or a log handler's class.
_PATHS = (
    "data.root",
    "resume",
    "hydra.run.dir",
    "hydra.sweep.dir",
)  # any text is a path, whatever Hydra's grammar says
_HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.verbose", "hydra.mode")


def compose(overrides: Sequence[str]) -> Config:
    """One run's configuration out of Hydra overrides (`key=value`), checked.

    Raises UsageError for an unknown key or choice, a value of the wrong type or out of range, a missing value, a
    declared contrast that no table could answer.
    """
    made = typed(compose_raw(overrides))
    try:
        declaration.check(made.primary)
    except yaml.YAMLError as error:
        raise explained(error) from error
    return made


def compose_raw(overrides: Sequence[str]) -> DictConfig:
    """As `compose`, but the container that Hydra built, as Hydra itself would hand it to a job."""
    for override in parsed(overrides):
        _check_choice(override)
        if override.is_sweep_override():
            key, _, value = str(override.input_line).partition("=")
            one = shlex.quote(f"{key}={quoted(value)}")
            hint = f"; a path that holds commas is quoted: {one}" if key in _PATHS else ""
            raise UsageError(
                f"{override.input_line} asks for several runs; add -m (imgrec train -m ...), or give one value{hint}"
            )
    schemas.register()
    try:
        with own_hydra(), initialize_config_dir(str(schemas.conf_dir()), version_base="1.3"):
            config = hydra_compose("config", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise explained(error) from error
    return config


@contextlib.contextmanager
def own_hydra() -> Iterator[None]:
    """Let Hydra begin anew while the block runs: a program around this one may be in the middle of its own task."""
    outer, base, job = GlobalHydra.instance().hydra, VersionBase.instance(), JobRuntime.instance()
    version, name = base.version_base, copy.deepcopy(job.conf)
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer
        base.version_base, job.conf = version, name


def typed(config: DictConfig) -> Config:
    """The one door from YAML: Hydra's container as the dataclasses of this folder, checked."""
    for key in _keys(config):
        _refuse_unknown(config, key)
    referring = [key for key in _keys(config) if _refers(config, key)]
    try:
        made = OmegaConf.to_object(config)
        if not isinstance(made, Config):
            raise UsageError(f"the configuration must follow conf/config.yaml's schema, got {type(made).__name__}")
        # OmegaConf checks the types of values, and not of what a ${...} stands for
        return plain.from_flat(plain.flat(made)) if referring else made
    except OmegaConfBaseException as error:
        raise explained(error) from error
    except (TypeError, AttributeError) as error:
        if referring:
            raise UsageError(f"{', '.join(referring)}: ${{...}} must stand for a value of the right type") from error
        raise


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The runs of a sweep: every combination of the values after commas, in Hydra's own order."""
    words = parsed(overrides)
    for override in words:
        if override.is_sweep_override():
            _check_hydra(override)
        else:
            _check_choice(override)
    try:
        batches = BasicSweeper.split_arguments(words, max_batch_size=None)
    except HydraException as error:  # interval(...): values without end; glob(...): needs Hydra's own file listing
        raise UsageError(
            f"a sweep must list its values (key=a,b or key=range(1,4)); intervals need sweep=optuna: {error}"
        ) from error
    return [list(job) for batch in batches for job in batch]


def of_study(overrides: Sequence[str]) -> list[str] | None:
    """The words of the grid that `study=` names, which come before the command's own; None for one run.

    A study asks for several runs by itself, unless hydra.mode=RUN says otherwise.
    """
    name = given(overrides, "study")
    if name is None or given(overrides, "hydra.mode") is not None:
        return None
    for override in parsed([text for text in overrides if key_of(text) == "study"]):
        if override.is_sweep_override():
            raise UsageError(f"study must be one name, got {override.input_line}; give each study by itself")
    if name not in schemas.choices("study"):
        raise unknown_choice("study", name)
    try:
        rows = OmegaConf.load(schemas.conf_dir() / "study" / f"{name}.yaml")
    except yaml.YAMLError as error:
        raise explained(error) from error
    params = OmegaConf.select(rows, "hydra.sweeper.params") or {}
    known = [*GROUPS, "experiment", *schemas.known_keys()]
    for key in params:
        if key not in known:
            guess = nearest(str(key), known)
            hint = f"did you mean {guess}?" if guess else "remove it"
            raise UsageError(f"{file_of(f'study/{name}')}: {key} is not a key; {hint}")
    return [f"{key}={value}" for key, value in params.items()]


def key_of(override: str) -> str:
    """The key that an override speaks of."""
    return override.partition("=")[0].lstrip("+~")


def given(overrides: Sequence[str], key: str) -> str | None:
    """The value that the command gives `key`, the last one counting; None where it gives none, or null."""
    values = [override.value() for override in parsed([text for text in overrides if key_of(text) == key])]
    return str(values[-1]) if values and values[-1] is not None else None


def literal(overrides: Sequence[str], *, several: bool = False) -> list[str]:
    """The words of a command, in which paths are quoted where Hydra's grammar would not read them as they are.

    `~/photos`, accents, blanks, `=`, brackets and 1e3 are a path's own. What the grammar reads as text stays, quotes
    and ${...} included. A comma is a path's own where that path exists. several: else it separates values of data.root.
    """
    return [_literal(text, several) for text in overrides]


def quoted(text: str) -> str:
    """The text as a quoted value of Hydra's grammar, in which only backslashes before a quote count."""
    mark = "'" if '"' in text else '"'  # as a rule the one that a shell's own quotes can hold
    text = re.sub(rf"(\\*){mark}", lambda found: f"{found[1]}{found[1]}\\{mark}", text)
    return mark + re.sub(r"\\+$", lambda found: 2 * found[0], text) + mark


def _literal(text: str, several: bool) -> str:
    key, equals, value = text.partition("=")
    if not equals or key.lstrip("+") not in _PATHS:
        return text
    if key.lstrip("+") == "data.root":
        one = _exists(value) and not (several and all(map(_exists, _apart(value))))
        return f"{key}={_as_path(value, several=several and not one, one=one)}"
    value = _as_path(value, several=False, one=True)
    override = _read(f"x={value}")
    path = override.value() if override is not None else None
    if isinstance(path, str) and path.startswith("~"):  # a shell expands it only where a word begins with it
        return f"{key}={quoted(os.path.expanduser(path))}"  # noqa: PTH111 - a Path raises where there is no home
    return f"{key}={value}"


def _as_path(value: str, *, several: bool, one: bool) -> str:
    """The value so that Hydra reads a path, or, where they are allowed, `several`. one: a comma is the path's own."""
    override = _read(f"x={value}")
    if override is None:
        parts = _apart(value) if several else [value]
        return ",".join(quoted(value) if len(parts) == 1 else _as_path(part, several=False, one=True) for part in parts)
    if override.is_sweep_override():
        return value if several or not one else quoted(value)
    read = override.value()
    as_it_is = read is None or str(read) == value or value[:1] in ("'", '"')
    return value if as_it_is or (isinstance(read, str) and "\\" in value) else quoted(value)


def _apart(value: str) -> list[str]:
    """The parts between commas; those inside quotes belong to a part."""
    return re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", value)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no home, a NUL
        return False


def _read(text: str) -> Override | None:
    """The word as Hydra reads it; None where it cannot."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The words as Hydra reads them. Raises UsageError for what it cannot read."""
    found = []
    for text in overrides:
        override = _read(text)
        if override is None:
            key, equals, value = text.partition("=")
            word = f"{key}={quoted(value)}"
            if not equals or _read(word) is None:
                raise UsageError(f"an override must read key=value, got {text!r}")
            raise UsageError(
                f"{key} must have a value that Hydra's grammar can read, got {value!r}; quote it for the grammar and"
                f" for the shell: {shlex.quote(word)}"
            )
        found.append(override)
    return found


def _check_choice(override: Override) -> None:
    """Refuse what Hydra would take for something else: an unknown choice, a lost key, a changed name."""
    key = override.key_or_group
    axis, _, rest = key.partition(".")
    if not key:
        raise UsageError(f"an override must read key=value, got {override.input_line!r}")
    _check_hydra(override)
    if override.is_delete():
        known = ", ".join(schemas.choices(key)) if key in GROUPS else ""
        way_out = f"choose one of {known}" if known else "leave it out for its default"
        raise UsageError(f"{key} cannot be deleted (~{key}); {way_out}")
    if key in (*GROUPS, "experiment", "study"):
        value = override.value()
        if value is None and key not in GROUPS:
            raise UsageError(f"{key} must be a name, got null; leave {key} out for none")
        if not override.is_sweep_override() and str(value) not in schemas.choices(key):
            raise unknown_choice(key, str(value))
    elif axis in GROUPS and rest == "name":
        name = override.get_value_string()
        raise UsageError(f"{key} follows from the choice; write {axis}={name} instead")


def _check_hydra(override: Override) -> None:
    """Refuse a setting of Hydra itself that has no place in a command."""
    key = override.key_or_group
    if key.partition(".")[0].partition("/")[0] != "hydra":
        return
    value = override.value()
    if key == "hydra.job.name" and str(value).isidentifier():  # Lightning's words for a run's other processes
        return
    if key == "hydra.output_subdir" and value is None:
        return
    known = key in _HYDRA_KEYS and not override.is_delete() and not isinstance(value, (dict, list))
    if not known or (key == "hydra.mode" and str(value) != "RUN"):
        raise UsageError(
            f"{override.input_line} is no setting of imgrec; of Hydra's own, a command may give"
            f" {', '.join(_HYDRA_KEYS)}"
        )


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        name = f"{prefix}{key}"
        yield name
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _keys(node, f"{name}.")


def _refers(config: DictConfig, key: str) -> bool:
    """Whether the value at that dotted key is a ${...}."""
    parent, _, leaf = key.rpartition(".")
    owner = OmegaConf.select(config, parent) if parent else config
    return isinstance(owner, DictConfig) and OmegaConf.is_interpolation(owner, leaf)


def _refuse_unknown(config: DictConfig, key: str) -> None:
    """Refuse a key that was forced in with `+`: nothing would read it."""
    parent, _, leaf = key.rpartition(".")
    owner = OmegaConf.get_type(config, parent) if parent else Config
    if owner is not None and dataclasses.is_dataclass(owner):
        names = [field.name for field in dataclasses.fields(owner)]
        if leaf not in names:
            raise unknown_key(key, owner)

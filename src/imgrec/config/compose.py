"""Compose command-line overrides into one checked, typed configuration. Imports no torch.

Hydra composes the choices of conf/ over the dataclasses of this folder.
"""

import contextlib
import copy
import functools
import os
import pickle
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from imgrec.config import data, declaration, folders, references, registry, schemas, serialize, yaml_files
from imgrec.config.explain import explained, unknown_choice
from imgrec.config.fields import nearest
from imgrec.config.overrides import PATHS, given, key_of, parsed, quoted
from imgrec.config.protocol import Protocol
from imgrec.config.root import GROUPS, Config
from imgrec.config.word_checks import check_choice, check_hydra
from imgrec.errors import UsageError

State = frozenset[tuple[str, int, int, int, int]]


def compose(overrides: Sequence[str]) -> Config:
    """Return one run's checked configuration from Hydra overrides (`key=value`).

    Raises:
        UsageError: A key or choice is unknown, a value is missing, out of range or of the wrong type, or no table could
            answer a declared contrast.
    """
    made = typed(compose_raw(overrides))
    try:
        declaration.check(made.primary)
    except yaml.YAMLError as error:
        raise explained(error) from error
    return made


def compose_raw(overrides: Sequence[str]) -> DictConfig:
    """Return the container that Hydra builds from the overrides, as Hydra passes it to a job. See `compose`.

    The choices are composed once in a process. The values are set in a copy, which takes a tenth of the time, as the
    runs of a sweep differ mostly in values.
    """
    config = _composed(overrides)
    return _without_hydra(config) if "hydra" in config else config


def composed_choices(overrides: Sequence[str]) -> dict[str, str]:
    """Return the choice of each axis, which the command, a recipe, a study or conf/config.yaml makes.

    Raises:
        UsageError: As in `compose`.
    """
    found = _composed(overrides, with_hydra=True).hydra.runtime.choices
    return {axis: str(found[axis]) for axis in GROUPS}


def _composed(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """Return what `compose_raw` does, with Hydra's own settings if a word sets one, or if they are asked for."""
    words = parsed(overrides)
    for word in words:
        check_choice(word)
        if word.is_sweep_override():
            key, _, value = str(word.input_line).partition("=")
            one = shlex.quote(f"{key}={quoted(value)}")
            hint = f"; a path that holds commas is quoted: {one}" if key in PATHS else ""
            raise UsageError(
                f"{word.input_line} asks for several runs; add -m (imgrec train -m ...), or give one value{hint}"
            )
    choices = [word for word in words if _chooses(word)]
    values = [word for word in words if not _chooses(word)]
    hydras = with_hydra or any(word.is_hydra_override() for word in values)
    setup_globals()  # Hydra's resolvers; the calling program may have cleared them
    try:
        known = data.default_root(), registry.generation()
        places = folders.folders()
        packed = _chosen(
            places, tuple(map(_state, places)), known, tuple(str(word.input_line) for word in choices), hydras
        )
        config: DictConfig = pickle.loads(packed)
        for word in values:
            _set(config, word)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise explained(error) from error
    except RecursionError as error:
        raise UsageError(
            "a file of choices must not name itself in its defaults, nor nest thousands deep; mend it"
        ) from error
    return config


def _set(config: DictConfig, word: Override) -> None:
    """Set a value in the configuration as Hydra does."""
    try:
        ConfigLoaderImpl._apply_overrides_to_config([word], config)
    except ValueError as error:  # OmegaConf raises it for a name in the place of an index
        owner, _, leaf = word.key_or_group.rpartition(".")
        raise UsageError(
            f"{owner} is a list: {leaf!r} must be the number of an item, from 0; or give it whole, {owner}=[...]"
        ) from error


def _chooses(word: Override) -> bool:
    """Return True if the override selects files of conf/, and False if it sets a value."""
    key = word.key_or_group
    return key in (*GROUPS, "experiment", "study") or word.package is not None or "/" in key


@functools.lru_cache(maxsize=128)
def _chosen(
    places: tuple[Path, ...], state: tuple[State, ...], known: tuple[str, int], words: tuple[str, ...], hydra: bool
) -> bytes:
    """Return what Hydra composes from the overrides that select choices. It is pickled, so each caller gets a copy.

    Args:
        places: The folder conf/, and the user's own folder if there is one.
        state: The state of the files in them, so that a changed file is read again.
        known: The default of data.root, which comes from the environment, and the generation of the components.
        words: Overrides that select choices, such as `optimizer=adam`.
        hydra: True to include Hydra's own settings, which are the larger part.
    """
    schemas.register()
    with own_hydra(), initialize_config_dir(str(places[0]), version_base="1.3"):
        config = hydra_compose("config", overrides=[*folders.search_path(), *words], return_hydra_config=True)
    name_after_file(config)
    try:
        return pickle.dumps(config if hydra else _without_hydra(config))
    except (pickle.PicklingError, AttributeError) as error:  # pickle finds a class by its module and name
        raise UsageError(
            f"a component must be a class at the top of its module, of a name of its own, got: {error}; move it there"
        ) from error


def name_after_file(config: DictConfig) -> None:
    """Give the keys `experiment` and `study` the names of the files that were chosen, which need not repeat them.

    Args:
        config: The configuration, with Hydra's own settings.
    """
    for kind in yaml_files.LABELLED:
        if (name := config.hydra.runtime.choices.get(kind)) is not None:
            config[kind] = name


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        del config["hydra"]
    return config


def _state(folder: Path) -> State:
    """Return the name of each file below the folder, and the numbers that show a change of it. Links are followed."""
    found, seen = [], set()
    for place, inner, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:  # a link to a folder that was visited
            inner.clear()
            continue
        seen.add(real)
        for name in names:
            path = f"{place}/{name}"
            try:
                stat = os.stat(path)  # noqa: PTH116 - a Path for each of them takes longer than the question
            except OSError:  # removed meanwhile, or a link without a target, such as Emacs puts beside an edited file
                found.append((path, 0, 0, 0, 0))
            else:
                found.append((path, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size))
    return frozenset(found)


@contextlib.contextmanager
def own_hydra() -> Iterator[None]:
    """Give the block a Hydra without state, and restore the calling program's Hydra afterwards.

    Hydra copies its sources for each composition, and with them the store of all schemas, which no composition changes.
    The block's compositions share the store, which saves a quarter of their time.
    """
    outer, base, job = GlobalHydra.instance().hydra, VersionBase.instance(), JobRuntime.instance()
    version, name = base.version_base, copy.deepcopy(job.conf)
    store = vars(ConfigStore.instance())
    is_inner = "__deepcopy__" in store  # a block within a block
    GlobalHydra.instance().clear()
    store["__deepcopy__"] = _same_store
    try:
        yield
    finally:
        if not is_inner:
            store.pop("__deepcopy__", None)
        GlobalHydra.instance().hydra = outer
        base.version_base, job.conf = version, name


def _same_store(_: object) -> ConfigStore:
    return ConfigStore.instance()


def typed(config: DictConfig) -> Config:
    """Convert Hydra's container into the checked dataclasses of this folder. All YAML passes through this function."""
    referring = references.check(config)
    try:
        made = OmegaConf.to_object(config)
        if not isinstance(made, Config):
            raise UsageError(f"the configuration must follow conf/config.yaml's schema, got {type(made).__name__}")
        # OmegaConf checks the types of values, but not of values that a ${...} refers to
        return serialize.from_flat(serialize.flat(made)) if referring else made
    except OmegaConfBaseException as error:
        raise explained(error) from error
    except (TypeError, AttributeError) as error:
        if referring:
            raise UsageError(f"{', '.join(referring)}: ${{...}} must stand for a value of the right type") from error
        raise


def protocol(name: str, overrides: Sequence[str]) -> Protocol:
    """Return a protocol with these settings.

    Args:
        name: The protocol's name.
        overrides: Its settings, such as `protocol.gaussian_noise.sigmas=[0.1]`.

    Raises:
        UsageError: An override is no setting of this protocol.
    """
    for text in overrides:
        if not key_of(text).startswith(f"protocol.{name}."):
            raise UsageError(f"{text} is no setting of protocol.{name}; imgrec train --help protocol.{name} lists them")
    found: Protocol = compose([f"test_protocols=[{name}]", *overrides]).protocol[name]
    return found


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run of a sweep: every combination of the values after commas, in Hydra's order."""
    words = parsed(overrides)
    for override in words:
        if override.is_sweep_override():
            check_hydra(override)
        else:
            check_choice(override)
    try:
        batches = BasicSweeper.split_arguments(words, max_batch_size=None)
    except HydraException as error:  # interval(...) lists no values; glob(...) needs Hydra's own file listing
        raise UsageError(
            f"a sweep must list its values (key=a,b or key=range(1,4)); intervals need sweep=optuna: {error}"
        ) from error
    return [list(job) for batch in batches for job in batch]


def of_study(overrides: Sequence[str]) -> list[str] | None:
    """Return the overrides of the grid that `study=` names, which precede the command's own; None for a single run.

    A study consists of several runs, unless hydra.mode=RUN asks for one.
    """
    name = given(overrides, "study")
    if name is None or given(overrides, "hydra.mode") is not None:
        return None
    for override in parsed([text for text in overrides if key_of(text) == "study"]):
        if override.is_sweep_override():
            raise UsageError(f"study must be one name, got {override.input_line}; give each study by itself")
    if name not in schemas.choices("study"):
        raise unknown_choice("study", name)
    params = ((folders.rows_of(f"study/{name}").get("hydra") or {}).get("sweeper") or {}).get("params") or {}
    known = [*GROUPS, "experiment", *schemas.known_keys()]
    for key in params:
        if key not in known:
            guess = nearest(str(key), known)
            hint = f"did you mean {guess}?" if guess else "remove it"
            raise UsageError(f"{folders.file_of(f'study/{name}')}: {key} is not a key; {hint}")
    return [f"{key}={value}" for key, value in params.items()]

"""Use Hydra's own runtime, to print a configuration and to compose a sweep's multirun.yaml. Imports no torch."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from imgrec import run_lookup, runlog
from imgrec.config import folders, schemas
from imgrec.config.compose import compose, expand, name_after_file, own_hydra
from imgrec.config.overrides import literal
from imgrec.config.root import Config
from imgrec.config.yaml_files import LABELLED
from imgrec.data import inventory
from imgrec.errors import UsageError

_PRINTING = ("--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")  # options of Hydra that only print


def refuse_place() -> None:
    """Refuse a working folder whose path Hydra would change."""
    if "${" in str(here := Path.cwd()):
        raise UsageError(
            f"the working folder must have no ${{ in its path, which Hydra resolves, got {str(here)!r}; call imgrec"
            " from another folder"
        )


def plain_path(key: str, path: str) -> Path:
    """Return the folder that a key of Hydra names.

    Hydra resolves ${...} in the value, and in the path of the working folder.

    Raises:
        UsageError: Hydra would write into another folder.
    """
    if "${" in path:
        raise UsageError(f"{key} must be a plain path, got {path!r}; leave it out, and the folder names itself")
    return Path(path)


def show(overrides: Sequence[str], flags: Sequence[str], *, multirun: bool = False) -> None:
    """Let Hydra print the configuration or its own settings. Nothing is run.

    Args:
        overrides: The overrides.
        flags: Hydra's options, such as `--cfg job`.
        multirun: True if the command has -m, which is refused.

    Raises:
        UsageError: An option or an override is invalid.
    """
    for flag in flags:
        if flag.startswith("-") and flag.partition("=")[0] not in _PRINTING:
            raise UsageError(
                f"{flag} is no option of imgrec train; give -m, {', '.join(_PRINTING)}, and keys as key=value"
            )
    if multirun:
        raise UsageError(f"{flags[0]} prints the configuration of one run, and -m asks for several; leave out -m")
    overrides = literal(overrides)
    labels = _labels(compose(overrides))
    with _registered(), _called_with([*flags, *folders.search_path(), *overrides, *labels]):
        hydra.main(config_path=str(folders.conf_dir()), config_name="config", version_base="1.3")(_nothing)()


def _labels(config: Config) -> list[str]:
    """Return an override by which Hydra too names a recipe or a study whose file does not name itself."""
    names = {kind: getattr(config, kind) for kind in LABELLED}
    lacking = {kind: name for kind, name in names.items() if name and kind not in folders.rows_of(f"{kind}/{name}")}
    if not lacking:
        return []
    ConfigStore.instance().store(group="label", name="of_files", node=lacking, package="_global_")
    return ["+label@_global_=of_files"]


def _nothing(raw: DictConfig) -> None:
    """Do nothing, as a task for Hydra when it only prints."""


def of_sweep(words: Sequence[str]) -> str:
    """Return what Hydra composes for a sweep, including its own settings, as the YAML text of multirun.yaml.

    Raises:
        UsageError: A file of conf/ selects one of Hydra's own launchers or sweepers.
    """
    with _registered(), initialize_config_dir(str(folders.conf_dir()), version_base="1.3"):
        own = GlobalHydra.instance().hydra
        assert own is not None, "just initialized"
        config = own.compose_config(
            "config",
            [*folders.search_path(), *words, "hydra.mode=MULTIRUN"],
            run_mode=RunMode.MULTIRUN,
            with_log_configuration=False,
        )
        for group, ours in (("hydra/launcher", "launcher"), ("hydra/sweeper", "sweep")):
            if (chosen := config.hydra.runtime.choices.get(group)) != "basic":
                raise UsageError(
                    f"{group} must stay basic, as {ours}= says how a sweep goes, got {chosen!r} in a file of conf/;"
                    " remove it there"
                )
        name_after_file(config)
        return OmegaConf.to_yaml(config)


@contextlib.contextmanager
def _registered() -> Iterator[None]:
    """Register imgrec's choices and resolvers with Hydra for the block, and restore Hydra's state afterwards."""
    schemas.register()
    OmegaConf.register_new_resolver("imgrec.sweep_dir", _sweep_dir, replace=True)
    OmegaConf.register_new_resolver("imgrec.run_name", _run_name, replace=True)
    with own_hydra(), runlog.refusing_disk():
        yield


@contextlib.contextmanager
def _called_with(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra read these arguments, and let it raise errors, which it would otherwise print before it exits."""
    argv, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["imgrec", *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def _sweep_dir(*, _root_: DictConfig) -> str:
    """Return the value of ${imgrec.sweep_dir:}, the folder of a sweep's runs."""
    first, *_ = expand(_root_.hydra.overrides.task)  # for the sweep itself, the overrides still contain lists
    return str(run_lookup.group(compose(first)))


def _run_name(*, _root_: DictConfig) -> str:
    """Return the value of ${imgrec.run_name:}, the name of one run's folder in the sweep's folder."""
    words = list(_root_.hydra.overrides.task)
    config = compose(words)
    within = Path(_root_.hydra.sweep.dir)
    return run_lookup.place(config, words, inventory.take(config.data), within=within).folder.name

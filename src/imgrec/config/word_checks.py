"""Check the words of a command before Hydra sees them, as Hydra would take some for something else."""

from hydra.core.override_parser.types import Override

from imgrec.config import schemas
from imgrec.config.explain import unknown_choice
from imgrec.config.listed import LISTS
from imgrec.config.root import GROUPS
from imgrec.errors import UsageError

# Hydra's own settings that a command may give. Others can name a class to run, such as a callback or a log handler.
_HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.verbose", "hydra.mode")


def check_choice(override: Override) -> None:
    """Refuse an override that Hydra would misread: an unknown choice, a missing key, a changed name."""
    key = override.key_or_group
    axis, _, rest = key.partition(".")
    if not key:
        raise UsageError(f"an override must read key=value, got {override.input_line!r}")
    check_hydra(override)
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
    elif axis in LISTS and rest.endswith(".name"):
        raise UsageError(f"{key} follows from the list; write {LISTS[axis]}=[...] instead")


def check_hydra(override: Override) -> None:
    """Refuse a setting of Hydra itself that a command may not give."""
    key = override.key_or_group
    if key.partition(".")[0].partition("/")[0] != "hydra":
        return
    value = override.value()
    if key == "hydra.job.name" and str(value).isidentifier():  # Lightning gives it to a run's other processes
        return
    if key == "hydra.output_subdir" and value is None:
        return
    known = key in _HYDRA_KEYS and not override.is_delete() and not isinstance(value, (dict, list))
    if not known or (key == "hydra.mode" and str(value) != "RUN"):
        ours = {"hydra/launcher": "launcher", "hydra/sweeper": "sweep"}.get(key)
        way_out = (
            f"{ours}={'|'.join(schemas.choices(ours))} says how a sweep goes"
            if ours
            else f"of Hydra's own, a command may give {', '.join(_HYDRA_KEYS)}"
        )
        raise UsageError(f"{override.input_line} is no setting of imgrec; {way_out}")

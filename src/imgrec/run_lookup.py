"""Find a run's folder by its id, the folder of its parent run, and the present place of its images. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec import initial, records, runfolder
from imgrec.config import serialize
from imgrec.config.identity import SHORT, run_id, run_name
from imgrec.config.root import Config, elsewhere
from imgrec.data import inventory
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record


def identity(
    config: Config,
    fingerprint: str,
    parent: Path | None = None,
    folder: Path | None = None,
    begins_with: str | None = None,
) -> str:
    """Return the run's id, which is made from its configuration's essence, its data's fingerprint and its beginning.

    Args:
        config: The configuration.
        fingerprint: The data's fingerprint.
        parent: The folder of the run that it continues from, if any.
        folder: The run's own folder, if there is one. If it has a checkpoint, its record knows the parent's id even
            after the parent is gone.
        begins_with: What a new network begins with, as of `begins_with`. A run with a parent takes none.
    """
    if parent is None:
        return run_id(config, fingerprint, begins_with=begins_with)
    own = runfolder.look(folder) if folder is not None and runfolder.has_state(folder) else None
    if own is not None and own.parent_id is not None and own.parent == str(parent):
        return run_id(config, fingerprint, own.parent_id)
    return run_id(config, fingerprint, runfolder.record_of(parent).run_id)


def begins_with(
    config: Config, seen: Inventory, *, folder: Path | None = None, within: Path | None = None, resumes: bool = False
) -> str | None:
    """Return what tells the weights that a new network begins with from others; None if the configuration says it.

    With `init_from` it is their digest. A run that has a state needs its source no more, and its record states the
    digest. So it is found if the source is gone.

    Args:
        config: The configuration.
        seen: The images.
        folder: The run's folder, where it is known.
        within: The folder to search for the run, instead of `group`'s.
        resumes: True if the run in `folder` is to be continued, whatever its source contains now.

    Raises:
        UsageError: The source does not exist, and no run has begun with it.
        RunError: The source cannot be read.
    """
    if config.init_from is None:
        return config.model.published()
    own = None if folder is None else _began_with(config, folder, seen)
    if own is not None and resumes:
        return own
    if initial.is_there(config.init_from):
        return initial.digest(config.init_from)
    places = [] if folder is not None else sorted((within or group(config)).glob(f"*-{'?' * SHORT}"))
    found = own or next(filter(None, (_began_with(config, place, seen) for place in places)), None)
    return found or initial.find(config.init_from).sha256  # refuses it


def _began_with(config: Config, folder: Path, seen: Inventory) -> str | None:
    """Return the digest in the record of the run in that folder, if it is this run and has begun; None otherwise."""
    try:
        record = runfolder.look(folder)
    except RunError:  # it is damaged, and may be another run's
        return None
    if record is None or config.init_from is None or (known := record.init.get("sha256")) is None:
        return None
    path = str(initial.place(config.init_from).absolute())
    if config.init_from != record.config.get("init_from") and path != record.init.get("path"):
        return None
    if record.status != "finished" and not runfolder.has_state(folder):
        return None
    forms = [one.fingerprint for one in (seen, seen.older) if one is not None]
    return known if record.run_id in [run_id(config, form, begins_with=known) for form in forms] else None


def parent_of(folder: Path, record: Record) -> Path | None:
    """Return the present folder of the run that the run in `folder` continued from.

    The parent is searched for at its recorded place and near `folder`, in case both were moved. Its id decides. If it
    is not found, the recorded place is returned.

    Returns:
        None for a run that began with a new network.

    Raises:
        RunError: It is not found, and the record is too old to contain its id.
    """
    if record.parent is None:
        return None
    named = Path(record.parent)
    tails = [Path(*named.parts[-count:]) for count in (1, 2, 3) if count <= len(named.parts)]
    tails += [] if named.is_absolute() else [named]
    near = [base / tail for base in folder.resolve().parents for tail in tails]
    beside = f"*-{record.parent_id[:SHORT]}" if record.parent_id else "*"
    for place in (named, *near, *folder.resolve().parent.glob(beside)):
        try:
            found = runfolder.look(place)
        except RunError:
            if place == named:
                raise
            continue  # a damaged record nearby is assumed to be another run's
        if found is not None and _is_parent(found, record):
            return place
    if record.parent_id is None:
        raise RunError(
            f"{shown(folder)} went on from the run in {shown(named)}, which is not there, and its record is too old to"
            f" know it by its id; put that run beside {shown(folder)}"
        )
    return named


def _is_parent(found: Record, record: Record) -> bool:
    if record.parent_id is not None:
        return found.run_id == record.parent_id
    return run_id(serialize.from_flat(record.config), record.fingerprint, found.run_id) == record.run_id


def start(config: Config) -> str | None:
    """Return the working directory if a path of the configuration is relative to it; None otherwise."""
    root = config.data.place
    return None if root is None or Path(root).expanduser().is_absolute() else str(Path.cwd())


def settled(folder: Path, record: Record, config: Config) -> Config:
    """Return the run's configuration with the present place of its images, if it names them by a relative path.

    The path was relative to the working directory of the run, which may have been moved together with the run. Of the
    folders that the path can mean, the first one with the run's images is used; if none has them, the first one.
    """
    root = config.data.place
    if root is None or start(config) is None:
        return config
    bases = (Path.cwd(), *([Path(record.cwd)] if record.cwd else []), *folder.resolve().parents)
    places = list({place.resolve(): place for base in bases if (place := base / root).exists()}.values())
    if not places:
        return config
    found = places[0] if len(places) == 1 else next((one for one in places if _holds(one, record, config)), places[0])
    return config if Path(root).exists() and found.samefile(root) else elsewhere(config, str(found))


def _holds(place: Path, record: Record, config: Config) -> bool:
    """Return True if the run's images are there."""
    try:
        return inventory.take(elsewhere(config, str(place)).data).known_as(record.fingerprint) is not None
    except (RunError, UsageError):  # a folder with other content
        return False


def group(config: Config) -> Path:
    """Return the folder that contains the run's folder: outputs/<study, or experiment, or default>."""
    return Path(runfolder.OUTPUTS) / (config.study or config.experiment or "default")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A run's present or future folder, its id, and what the id is made from.

    Attributes:
        folder: The folder.
        run_id: The id.
        seen: The images, in the form that the id is made from.
        begins_with: What a new network begins with, as of the function of that name.
    """

    folder: Path
    run_id: str
    seen: Inventory
    begins_with: str | None = None


def place(
    config: Config,
    overrides: Sequence[str],
    seen: Inventory,
    parent: Path | None = None,
    *,
    folder: Path | None = None,
    within: Path | None = None,
    resumes: bool = False,
) -> Place:
    """Look the run up by its id, then by the id that older versions gave it.

    Older versions knew a folder of images by names and sizes. A run that is found by its older id keeps it. With
    `force`, a finished one is trained again under the newer id.

    Args:
        config: The configuration.
        overrides: The words of the command.
        seen: The images.
        parent: The folder of the run that it continues from, if any.
        folder: The run's folder, where it is known.
        within: The folder to search, instead of `group`'s.
        resumes: True if the run in `folder` is to be continued, whatever its source contains now.
    """
    begins = None if parent is not None else begins_with(config, seen, folder=folder, within=within, resumes=resumes)
    own = identity(config, seen.fingerprint, parent, folder, begins)
    if seen.older is not None:
        earlier = identity(config, seen.older.fingerprint, parent, folder, begins)
        where = [folder] if folder is not None else _takes(within or group(config), earlier)
        record = runfolder.look(where[-1]) if where else None
        known = folder is None and bool(_takes(within or group(config), own))
        again = folder is None and config.force and record is not None and record.status == "finished"
        if record is not None and record.run_id == earlier and not known and not again:
            return Place(folder=where[-1], run_id=earlier, seen=seen.older, begins_with=begins)
    found = folder or locate(config, overrides, own, within=within)
    return Place(folder=found, run_id=own, seen=seen, begins_with=begins)


def unknown_contents(folder: Path, *, anew: str | None = None) -> str:
    """Return the warning about a run whose images are known by names and sizes only.

    Args:
        folder: The run's folder.
        anew: The words that train it again, where this helps.
    """
    way_out = f"; to train with images that are known by their contents, give {anew}" if anew else ""
    return (
        f"{shown(folder)}: its record knows the images by names and sizes alone, so whether they contain what they did"
        f" then is unknown{way_out}"
    )


def locate(config: Config, overrides: Sequence[str], own: str, *, within: Path | None = None) -> Path:
    """Return the run's folder: the newest one with a run of this id, or else a new readable name.

    With force=true, it is a new folder beside a finished one.

    Args:
        config: The configuration.
        overrides: The words of the command.
        own: The run's id.
        within: The folder to search, instead of `group`'s.
    """
    folder = within or group(config)
    present = _takes(folder, own)
    if not present:
        return folder / run_name(config, overrides, own)
    newest = present[-1]
    record = runfolder.look(newest)
    if config.force and record and record.status == "finished":
        stem, _, digits = present[0].name.rpartition("-")
        return newest.with_name(f"{stem.partition('_take-')[0]}_take-{runfolder.take_of(newest.name) + 1}-{digits}")
    return newest


def _takes(folder: Path, own: str) -> list[Path]:
    """Return the folders of that id, oldest first."""
    found = []
    for path in folder.glob(f"*-{own[:SHORT]}"):
        if (path / runfolder.RECORD).is_file() and records.read(path / runfolder.RECORD).run_id == own:
            found.append((path.stat().st_ctime_ns, path))
    # the take's number, if there is one, is more reliable than the clock
    return [path for _, path in sorted(found, key=lambda item: (runfolder.take_of(item[1].name), item[0]))]

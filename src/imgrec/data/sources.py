"""From a data config to its source: the only place that knows them all."""

from imgrec.config.data import Cifar10, Data, Digits, Folder
from imgrec.data.scan import Listing
from imgrec.data.source import Source
from imgrec.errors import UsageError


def check(cfg: Data, listing: Listing | None = None) -> bool:
    """Whether there will be validation images. No image is opened.

    listing: of a folder, where it has been listed already.
    Raises UsageError or RunError for a folder that holds no such data set, or cannot be split so.
    """
    match cfg:
        case Folder():
            from imgrec.data import folder

            return len(folder.split(cfg, listing).val or ()) > 0
        case Cifar10() | Digits():
            return cfg.val_size > 0
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")


def load(cfg: Data, listing: Listing | None = None) -> Source:
    """Load the data that `cfg` describes.

    listing: of a folder, where it has been listed already.
    Raises UsageError for a config of no known source, and what the source itself refuses.
    """
    # each source is imported when it is wanted: scikit-learn alone costs a second
    match cfg:
        case Cifar10():
            from imgrec.data import cifar10

            return cifar10.load(cfg)
        case Digits():
            from imgrec.data import digits

            return digits.load(cfg)
        case Folder():
            from imgrec.data import folder

            return folder.load(cfg, listing)
    raise UsageError(f"data must be one of cifar10, digits, folder, got {cfg.name!r}")

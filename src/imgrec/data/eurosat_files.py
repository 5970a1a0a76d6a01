"""Say where EuroSAT (Helber et al. 2019) comes from. Imports no torch."""

from imgrec.data.checksum import sha256
from imgrec.data.published import Published

ARCHIVE = "EuroSAT.zip"
PUBLISHED = Published(
    title="EuroSAT",
    key="eurosat",
    folder="eurosat",
    # of TensorFlow Datasets (url_checksums/eurosat.txt), for the file whose MD5 torchvision gives
    files={ARCHIVE: sha256("8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd")},
    urls={
        ARCHIVE: "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"
        + ARCHIVE
    },
)
CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)

"""Say where Imagenette (Howard 2019, github.com/fastai/imagenette) comes from. Imports no torch."""

from imgrec.data.checksum import sha256
from imgrec.data.published import Published

ARCHIVE = "imagenette2-160.tgz"
PUBLISHED = Published(
    title="Imagenette",
    key="imagenette",
    folder="imagenette",
    # of TensorFlow Datasets (url_checksums/imagenette.txt), for the file whose MD5 torchvision gives
    files={ARCHIVE: sha256("88daccb09b6fce93f45e6c09ddeb269cce705549e6bff322092a2a5a11489863")},
    urls={ARCHIVE: f"https://s3.amazonaws.com/fast-ai-imageclas/{ARCHIVE}"},
)
CLASSES = {  # by the number of the class in WordNet, which is the name of its folder
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

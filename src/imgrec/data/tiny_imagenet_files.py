"""Say where Tiny ImageNet (Le & Yang 2015, "Tiny ImageNet Visual Recognition Challenge") comes from. No torch."""

from imgrec.data.checksum import md5
from imgrec.data.published import Published

ARCHIVE = "tiny-imagenet-200.zip"
PUBLISHED = Published(
    title="Tiny ImageNet",
    key="tiny-imagenet",
    folder="tiny-imagenet",
    # the MD5 that is in common use; its authors publish no checksum
    files={ARCHIVE: md5("90528d7ca1a48142e341f4ef8d21d0de")},
    urls={ARCHIVE: f"https://cs231n.stanford.edu/{ARCHIVE}"},
)

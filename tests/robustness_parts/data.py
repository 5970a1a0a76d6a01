"""data=stripes."""

import torch

from imgrec.components import Data, register, setting
from imgrec.data.source import MemoryImages, Source


@register("data", "stripes")
class Stripes(Data):
    """Noise with a bright row or a bright column, of two classes."""

    count: int = setting(48, "training images", at_least=2)

    @property
    def side(self):
        return 8

    def fingerprint(self):
        return "stripes 1"

    def load(self, listing=None):
        def made(seed, count):
            generator = torch.Generator().manual_seed(seed)
            images_nchw = torch.randint(0, 128, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
            labels_n = torch.arange(count) % 2
            images_nchw[labels_n == 0, :, 3] += 120
            images_nchw[labels_n == 1, :, :, 3] += 120
            return MemoryImages(images_nchw, labels_n)

        half = (0.5, 0.5, 0.5)
        return Source(
            name="stripes",
            classes=("row", "column"),
            image_size=8,
            channels=3,
            mean=half,
            std=half,
            train=made(0, self.count),
            val=made(1, 16),
            open_test=lambda: made(2, 16),
        )

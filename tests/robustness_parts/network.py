"""model=mlp."""

from torch import nn

from imgrec.components import Model, register, setting


@register("model", "mlp")
class Mlp(Model):
    """Two layers on all pixels."""

    width: int = setting(8, "hidden units", at_least=1)

    def build(self, *, num_classes, image_size, channels, fetch):
        inputs = channels * image_size**2
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, self.width), nn.ReLU(), nn.Linear(self.width, num_classes))

"""protocol=fgsm."""

from typing import ClassVar

import torch
import torch.nn.functional as F

from imgrec.components import Protocol, register, setting


@register("protocol", "fgsm")
class Fgsm(Protocol):
    """One step towards a greater loss (Goodfellow et al. 2015, equation 1); a row of scores for each size."""

    takes_gradients: ClassVar[bool] = True
    eps: list[float] = setting(lambda: [0.0, 8 / 255], "sizes of the step, in shares of the pixel range", at_least=0)

    def build(self):
        def attacked(network, batch):
            images_nchw = batch.images_nchw.clone().requires_grad_()
            loss = F.cross_entropy(network(images_nchw), batch.targets_n)
            (gradient_nchw,) = torch.autograd.grad(loss, images_nchw)
            step_nchw = gradient_nchw.sign()
            return {f"{eps:.3f}": network((images_nchw + eps * step_nchw).clamp(0, 1).detach()) for eps in self.eps}

        return attacked

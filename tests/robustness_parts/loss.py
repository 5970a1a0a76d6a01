"""loss=poly."""

from imgrec import losses
from imgrec.components import Loss, register, setting


@register("loss", "poly")
class Poly(Loss):
    """Cross-entropy with a heavier first polynomial term (Leng et al. 2022)."""

    epsilon: float = setting(1.0, "weight of the first polynomial term; 0 is cross-entropy", above=-1)
    note: str = setting("", "what the user wants to remember", identity=False)

    def build(self):
        def poly(logits_nk, target, *, reduction="mean"):
            q_nk = losses.wide(logits_nk).softmax(dim=1)
            first_n = (losses.probabilities(target, q_nk) * (1 - q_nk)).sum(dim=1)
            plain_n = losses.cross_entropy(logits_nk, target, reduction="none")
            return losses.reduced(plain_n + self.epsilon * first_n, reduction)

        return poly

"""callback=decay_pulse."""

from lightning.pytorch.callbacks import Callback as LightningCallback

from imgrec.components import Callback, register, setting


@register("callback", "decay_pulse")
class DecayPulse(Callback):
    """Shrink all weights every few steps; a state that must survive a resume."""

    every: int = setting(5, "steps from one pulse to the next", at_least=1)
    factor: float = setting(0.99, "what the weights are multiplied with", above=0, at_most=1)

    def build(self):
        return Pulse(self.every, self.factor)


class Pulse(LightningCallback):
    def __init__(self, every, factor):
        self.every, self.factor, self.steps = every, factor, 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps += 1
        if self.steps % self.every == 0:
            for weight in pl_module.parameters():
                weight.data.mul_(self.factor)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]

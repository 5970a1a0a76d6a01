"""Test that an error in the code of the user's own component names the component, the file and the line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

PARTS = """\
import os
from lightning.pytorch.callbacks import Callback as LightningCallback
from torch import nn
from imgrec import execution, losses
from imgrec.components import Callback, Data, Launcher, Loss, Model, Protocol, register, setting
from imgrec.errors import RunError


def fail_at(place):
    if os.environ.get("FAILS_AT") == place:
        raise KeyError("gone")  # line 11
    if os.environ.get("FAILS_AT") == f"{place}, refused":
        raise RunError("the part is tired; let it rest")
    if os.environ.get("FAILS_AT") == f"{place}, by leaving":
        raise SystemExit(3)


@register("loss", "mine")
class Mine(Loss):
    "A loss."

    def __post_init__(self):
        super().__post_init__()
        fail_at("settings")

    def build(self):
        def loss(logits, target, *, reduction="mean"):
            fail_at("loss")
            if os.environ.get("FAILS_AT") == "loss's call":
                len(3)  # line 30
            if os.environ.get("FAILS_AT") == "loss's file":
                open("nothing")  # line 32
            return losses.cross_entropy(logits, target, reduction=reduction)

        return loss


class Net(nn.Sequential):
    def forward(self, images):
        fail_at("network")
        return super().forward(images)


@register("model", "mine")
class MyNetwork(Model):
    "A network."

    def build(self, *, num_classes, image_size, channels, fetch):
        return Net(nn.Flatten(), nn.Linear(channels * image_size**2, num_classes))


class Hook(LightningCallback):
    def on_train_batch_end(self, *given):
        fail_at("hook")


@register("callback", "mine")
class MyCallback(Callback):
    "A callback."

    def build(self):
        return Hook()


@register("protocol", "mine")
class MyProtocol(Protocol):
    "A protocol."

    def build(self):
        def scored(network, batch):
            fail_at("protocol")
            return {"": network(batch.images_nchw)}

        return scored


class OneByOne:
    def at_a_time(self, configs):
        return 1

    def run(self, jobs, watch):
        fail_at("launcher")
        for job in jobs:
            execution.run(job, swept=True)


@register("launcher", "mine")
class MyLauncher(Launcher):
    "A launcher."

    def build(self):
        return OneByOne()
"""
TOLD = {
    "settings": "parts.py, line 11: loss=mine raised KeyError: 'gone'; mend it there",
    "loss": "parts.py, line 11: loss=mine raised KeyError: 'gone'; mend it there",
    "loss's call": "parts.py, line 30: loss=mine raised TypeError: object of type 'int' has no len(); mend it there",
    "loss's file": "parts.py, line 32: loss=mine raised FileNotFoundError: [Errno 2] No such file or directory: 'noth",
    "loss, refused": "the part is tired; let it rest",
    "loss, by leaving": "a run must end by returning or raising, and loss=mine (parts.py, line 15) called sys.exit(3)",
    "network": "parts.py, line 11: model=mine raised KeyError: 'gone'; mend it there",
    "hook": "parts.py, line 11: callback=mine raised KeyError: 'gone'; mend it there",
    "protocol": "parts.py, line 11: protocol=mine raised KeyError: 'gone'; mend it there",
    "launcher": "parts.py, line 11: launcher=mine raised KeyError: 'gone'; mend it there",
}


@pytest.mark.long
def test_what_an_outside_component_raises_is_told_with_its_name_file_and_line_and_recorded(
    python: Callable[[str], str], tiny: list[str], workplace: Path
) -> None:
    Path("parts.py").write_text(PARTS)
    words = [word for word in tiny if not word.startswith("model.")]
    words += ["model=mine", "loss=mine", "callbacks=[mine]", "test_protocols=[mine]", "trainer.max_epochs=1"]
    said = python(f"""
        import os
        from imgrec import command_end, launch
        from imgrec.config import outside
        from imgrec.sweeps.run import Sweep

        outside.load(["parts.py"])
        for place in {list(TOLD)!r}:
            os.environ["FAILS_AT"] = place
            try:
                if place == "launcher":
                    Sweep([*{words!r}, "launcher=mine", "seed=0,1", "hydra.sweep.dir=swept"]).run()
                launch.train([*{words!r}, f"hydra.run.dir={{place}}"])
            except Exception as error:
                print(f"<{{place}}> {{command_end._unexpected(error) if place in ('settings', 'launcher') else error}}")
                assert place == "settings" or place == "launcher" or place == "loss, refused" or error.__cause__
    """)
    for place, sentence in TOLD.items():
        assert f"<{place}> {sentence}" in said
        if place not in ("settings", "launcher"):
            assert json.loads(Path(place, "record.json").read_text())["error"].startswith(f"RunError: {sentence}")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.long
def test_the_command_ends_with_the_line_and_keeps_the_traceback(
    imgrec: Callable[..., Any], tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    Path("parts.py").write_text(PARTS)
    monkeypatch.setenv("FAILS_AT", "network")
    if debug:
        monkeypatch.setenv("IMGREC_DEBUG", "1")
    words = [word for word in tiny if not word.startswith("model.")]
    child = imgrec("train", "--components", "parts.py", *words, "model=mine", "trainer.max_epochs=1")
    assert child.wait() == 1
    text = child.log.read_text()
    assert "imgrec: parts.py, line 11: model=mine raised KeyError: 'gone'; mend it there (" in one_line(text[-200:])
    assert ('raise KeyError("gone")  # line 11' in text) == debug

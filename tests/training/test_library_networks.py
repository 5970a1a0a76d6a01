"""Test that runs with networks of libraries and papers are measured, cut, continued and rebuilt bit for bit."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, ended_at, state

import imgrec as public
from imgrec import launch

DIGITS = (  # 56 training images: 7 steps
    "data=digits",
    "data.batch_size=8",
    "data.val_size=1381",
    "data.eval_batch_size=512",
    "augment=crop_flip",
    "optimizer=adam",
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.max_epochs=1",
    "trainer.progress=none",
    "trainer.tensorboard=false",
    "test=false",
)
PUBLISHED = [
    "model=resnet20 model.drop_path=0.3",
    "model=wide_resnet model.depth=10 model.widen=1 model.dropout=0.3",
    "model=densenet_bc model.depth=16 model.growth=4 model.dropout=0.2",
    "model=preact_resnet18",
    "model=vgg16_bn",
    "model=vit_small model.patch=8 model.dropout=0.1 model.drop_path=0.2",
]
TORCHVISION = {
    "convnext_tiny": "model.drop_path=0.3",
    "efficientnet_b0": "model.dropout=0.3",
    "googlenet": "",
    "mnasnet0_5": "trainer.ema_decay=0.9",
    "mobilenet_v3_small": "",
    "regnet_y_400mf": "",
    "resnet18": "model.stem=published",
    "shufflenet_v2_x0_5": "optimizer=muon",
    "squeezenet1_1": "",
    "swin_t": "model.drop_path=0.3",
    "vit_b_32": "model.dropout=0.1 optimizer=muon",
}
TIMM = {
    "convnext_atto": "model.drop_path=0.3",
    "efficientnet_lite0": "model.stem=published",
    "ghostnet_100": "model.stem=published",
    "mixer_s32_224": "",
    "mobilenetv4_conv_small": "",
    "regnetx_002": "",
    "repvgg_a0": "model.stem=published",
    "resnet10t": "model.stem=published",
    "swin_tiny_patch4_window7_224": "",
    "vit_tiny_patch16_224": "model.drop_path=0.2 optimizer=muon",
    "xcit_nano_12_p16_224": "",
}
without_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra timm")
NETWORKS = [
    *(pytest.param(words, marks=pytest.mark.slow) for words in PUBLISHED),
    *(
        pytest.param(f"model=torchvision model.architecture={name} {words}", marks=pytest.mark.slow)
        for name, words in TORCHVISION.items()
    ),
    *(
        pytest.param(f"model=timm model.architecture={name} {words}", marks=[pytest.mark.slow, without_timm])
        for name, words in TIMM.items()
    ),
]


@pytest.mark.parametrize("words", NETWORKS, ids=lambda words: words.split("=", 2)[-1].split()[0])
def test_a_cut_run_on_the_digits_ends_as_the_whole_one(words: str, imgrec: Callable[..., Any], workplace: Path) -> None:
    command = ["train", *DIGITS, *words.split()]
    cut = imgrec(*command, "hydra.run.dir=cut", before=lambda: ended_at(3))
    assert cut.wait() == 143, cut.log.read_text()
    assert state(Path("cut"))["global_step"] == 3, "it should have been cut in the middle of its epoch"
    for folder in ("cut", "whole"):
        child = imgrec(*command, f"hydra.run.dir={folder}")
        assert child.wait() == 0, child.log.read_text()
    assert_same_run(Path("whole"), Path("cut"))
    weights = torch.load("whole/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    rebuilt = public.load(Path("whole")).network.state_dict()
    assert all(torch.equal(value, weights[f"network.{name}"]) for name, value in rebuilt.items())


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("model=resnet20", id="resnet20", marks=pytest.mark.slow),
        pytest.param("model=torchvision model.architecture=mnasnet0_5", id="mnasnet0_5"),  # reads its version
        pytest.param("model=torchvision model.architecture=mnasnet0_5 trainer.ema_decay=0.9", id="averaged"),
        pytest.param(
            "model=torchvision model.architecture=mobilenet_v3_small model.dropout=0.3", id="mobilenet_v3_small"
        ),
    ],
)
@pytest.mark.long
def test_a_run_is_recorded_with_its_cost_and_rebuilt(words: str, tiny: list[str]) -> None:
    own = [word for word in tiny if not word.startswith("model.")]
    run = launch.train(
        [*own, *words.split(), "trainer.max_epochs=1", "trainer.tensorboard=true", "trainer.log_graph=true"]
    )
    assert run.record.status == "finished"
    assert run.record.cost["flops_per_image"] > 0
    trained = public.load(run.folder)
    assert trained.network(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    goes_on = launch.train([*own, *words.split(), "trainer.max_epochs=1", f"init_from={run.folder}"])
    assert goes_on.record.status == "finished"


@pytest.mark.slow
def test_dropout_may_change_in_a_resumed_run_and_the_architecture_may_not(
    tiny: list[str], command: Callable[..., tuple[int, str, str]]
) -> None:
    own = [word for word in tiny if not word.startswith("model.")]
    words = [*own, "trainer.max_epochs=1", "model=torchvision", "model.architecture=efficientnet_b0"]
    run = launch.train(words)
    more = ["trainer.max_epochs=2", "model.dropout=0.5", "model.drop_path=0.1"]
    going = launch.train(
        [f"resume={run.folder}", *more, "resume_override=[trainer.max_epochs,model.dropout,model.drop_path]"]
    )
    assert (going.record.config["model.dropout"], going.record.config["model.drop_path"]) == (0.5, 0.1)
    assert going.record.progress["epochs"] == 2
    code, _, err = command(
        "train", f"resume={run.folder}", "model.architecture=efficientnet_b1", "trainer.max_epochs=2"
    )
    assert code == 2
    assert "model.architecture" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.architecture=resnet19"], "did you mean resnet18"),
        (["model.architecture=vgg11"], "data.image_size=32"),
        (["model.architecture=vit_b_16", "model.stem=small"], "leave model.stem out"),
        (["model.architecture=resnet18", "model.drop_path=0.1"], "leave model.drop_path out"),
    ],
)
def test_a_refusal_comes_before_a_folder_is_made(
    words: list[str], sentence: str, tiny: list[str], command: Callable[..., tuple[int, str, str]]
) -> None:
    own = [word for word in tiny if not word.startswith("model.")]
    code, _, err = command("train", *own, "model=torchvision", *words)
    assert code == 2
    assert sentence in err.splitlines()[-1]
    code, _, err = command("train", "-m", *own, "model=torchvision", *words, "seed=0,1")
    assert code == 2
    assert sentence in err.splitlines()[-1]
    assert not Path("outputs").exists()

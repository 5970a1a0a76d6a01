"""Define the root of the configuration, with the checks that concern several axes."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from imgrec.config import listed, primary
from imgrec.config.augment import Augment
from imgrec.config.data import Data
from imgrec.config.fields import choice, setting, within
from imgrec.config.launcher import Launcher
from imgrec.config.listed import LISTS
from imgrec.config.loss import Loss
from imgrec.config.model import Model
from imgrec.config.optimizer import Optimizer
from imgrec.config.schedule import Schedule
from imgrec.config.sweep import Sweep
from imgrec.config.trainer import COMPILED_SHAPES, Trainer
from imgrec.errors import UsageError

AXES = ("data", "augment", "model", "loss", "optimizer", "schedule", "trainer")  # the identity of a run
STEERING = ("launcher", "sweep")  # how a command with -m carries out its runs
GROUPS = (*AXES, *STEERING)
SECTIONS = (*GROUPS, *LISTS)  # the fields of Config that hold components; the others are keys
MEASURED = ("test", "test_protocols", "test_calibration")  # keys of the measurements after the training
TEST_PRECISIONS = ("32", "bf16")
CODE_RULES = ("auto", "ignore", "warn", "refuse")


@dataclass(kw_only=True)
class Config:
    """The configuration of one run. The dataclass of each axis documents its keys."""

    data: Data = MISSING
    augment: Augment = MISSING
    model: Model = MISSING
    loss: Loss = MISSING
    optimizer: Optimizer = MISSING
    schedule: Schedule = MISSING
    trainer: Trainer = MISSING
    launcher: Launcher = MISSING
    sweep: Sweep = MISSING
    seed: int = setting(0, "decides initial weights, order and augmentation; the split does not depend on it")
    init_seed: int | None = setting(
        None, "decides the initial weights alone, and seed the rest; null: seed decides them too"
    )
    init_from: str | None = setting(
        None,
        "begin with the weights of a run (its best), a checkpoint or a .safetensors file; a head for other classes is"
        " new",
        identity=False,  # the digest of the weights is a part of the id
    )
    test: bool = setting(True, "read the test set once, at the end; false: it stays closed (for searches)")
    test_protocols: list[str] = setting(
        lambda: ["clean"], "protocols that the final reading measures by; --help protocol lists them"
    )
    protocol: dict[str, Any] = setting(dict, "settings of the protocols that test_protocols names")
    callbacks: list[str] = setting(list, "callbacks of the training beside imgrec's own; --help callback lists them")
    callback: dict[str, Any] = setting(dict, "settings of the callbacks that are named")
    loggers: list[str] = setting(
        lambda: ["tensorboard"],
        "where the run's numbers go beside curves.csv; --help logger lists them",
        identity=False,
    )
    logger: dict[str, Any] = setting(dict, "settings of the loggers that are named", identity=False)
    test_precision: str = setting(
        "32", "arithmetic of the final reading and of imgrec evaluate: 32, or bf16, faster where training in it is"
    )
    test_calibration: bool = setting(
        False,
        "fit one temperature on validation (Guo et al. 2017), and measure nll and ece before and after it; for losses"
        " whose outputs are logits of probabilities",
    )
    experiment: str | None = setting(None, "the recipe of conf/experiment that was chosen", identity=False)
    study: str | None = setting(None, "the study of conf/study that was chosen", identity=False)
    primary: list[str] = setting(
        list,
        "what a study is about, declared before it runs, which tables tell first: METRIC [at best|last][: KEY=VALUE vs"
        " KEY=VALUE [under KEY=VALUE vs KEY=VALUE]]",
        identity=False,
    )
    resume: str | None = setting(None, "a run's folder to go on from", identity=False)
    resume_override: list[str] = setting(list, "keys that may differ from the resumed run's", identity=False)
    force: bool = setting(False, "do a finished run over, in a new folder", identity=False)
    code: str = setting(
        "auto",
        "when imgrec's code has changed since a run: ignore, warn or refuse; auto: warn of a finished run, refuse to go"
        " on in the middle of one",
        identity=False,
    )

    def __post_init__(self) -> None:
        within("seed", self.seed, 0, 2**32 - 1)
        if self.init_seed is not None:
            within("init_seed", self.init_seed, 0, 2**32 - 1)
        if self.init_from is not None:
            self._check_init_from()
        choice("test_precision", self.test_precision, TEST_PRECISIONS)
        choice("code", self.code, CODE_RULES)
        for axis, key in LISTS.items():
            setattr(self, axis, listed.named(axis, getattr(self, key), getattr(self, axis)))
        for words in self.primary:
            primary.parse(words)
        if len(set(self.primary)) < len(self.primary):
            raise UsageError(f"primary must declare each contrast once, got {list(self.primary)}; drop one")
        if not self.test_protocols:
            raise UsageError("test_protocols must name at least one protocol, got []; use test=false to skip the test")
        if self.trainer.log_graph and not any(each.draws_graphs for each in self.logger.values()):
            raise UsageError("trainer.log_graph=true needs tensorboard among loggers; add it, or drop log_graph")
        self.launcher.check(self.trainer)
        if self.sweep.proposes:
            self.launcher.check_search()
        if self.trainer.early_stopping and self.data.has_validation is False:
            raise UsageError("trainer.early_stopping needs validation images; give data.val_size, or early_stopping=0")
        if self.data.resident == "true" and self.augment.policy != "none":
            raise UsageError(
                "data.resident=true needs augment.policy=none, as policies are drawn and applied on the CPU, got"
                f" {self.augment.policy!r}; leave data.resident out, or the policy"
            )
        if self.data.prune:
            self._check_pruning()
        if self.model.unfreeze_at >= self.trainer.max_epochs:
            raise UsageError(
                f"model.unfreeze_at must be less than trainer.max_epochs={self.trainer.max_epochs}, or nothing is ever"
                f" unfrozen, got {self.model.unfreeze_at}; give 0 to keep the layers frozen, or train longer"
            )
        self.model.check_side(self.data.side, resizable=self.data.resizable)
        for side in self.augment.sizes:
            self._check_size(side)
        sizes = len({*self.augment.sizes, self.data.side})
        for key, way in (("compile", "PyTorch compiles no more"), ("graphs", "each is captured anew")):
            if getattr(self.trainer, key) and sizes > COMPILED_SHAPES:
                raise UsageError(
                    f"augment.sizes must be at most {COMPILED_SHAPES} with trainer.{key}=true, the images' own side"
                    f" included, as {way}, got {sizes}; name fewer, or give trainer.{key}=false"
                )
        if self.optimizer.sam_rho:
            self._check_sam()
        if self.optimizer.averages:
            self._check_average()
        if self.augment.crop_border == "reflect" and self.augment.crop_padding >= self.data.side:
            raise UsageError(
                f"augment.crop_padding must be < {self.data.side}, the images' side, with augment.crop_border=reflect,"
                f" got {self.augment.crop_padding}"
            )

    def _check_average(self) -> None:
        """Refuse a falling rate, and a second average of the weights, beside an optimizer that averages them itself."""
        if self.schedule.name != "constant":
            raise UsageError(
                f"optimizer={self.optimizer.name} needs schedule=constant, with or without a warmup, as its average"
                f" takes the place of a falling rate, got schedule={self.schedule.name}; add schedule=constant"
            )
        for key in ("ema_decay", "swa_from"):
            if value := getattr(self.trainer, key):
                raise UsageError(
                    f"optimizer={self.optimizer.name} averages the weights, and so does trainer.{key}, got {value};"
                    f" leave trainer.{key} out"
                )

    def _check_sam(self) -> None:
        """Refuse what assumes one loss and one gradient a step, or would scale the gradient."""
        trainer = self.trainer
        for key, plain in (("accumulate", 1), ("nonfinite_skips", 0), ("graphs", False)):
            if (value := getattr(trainer, key)) != plain:
                raise UsageError(
                    f"optimizer.sam_rho needs trainer.{key}={str(plain).lower()}, as it computes two gradients a step,"
                    f" got {str(value).lower()}; drop one of the two"
                )
        if trainer.precision == "16-mixed":
            raise UsageError(
                "optimizer.sam_rho needs trainer.precision=32 or bf16-mixed, as 16-mixed scales the gradient, got"
                " 16-mixed; give trainer.precision=bf16-mixed"
            )

    def _check_init_from(self) -> None:
        if not self.init_from:
            raise UsageError(
                "init_from must name a run's folder, a checkpoint or a .safetensors file, got ''; leave it out to begin"
                " with random weights"
            )
        if self.model.is_pretrained:
            raise UsageError(
                "init_from and model.pretrained=true both say what the network begins with; leave one out (a run with"
                " pretrained weights has a stem for them: model.stem=published, or imagenet for resnet18 and resnet50)"
            )

    def _check_pruning(self) -> None:
        if self.data.sampler != "shuffle":
            raise UsageError(
                f"data.prune needs data.sampler=shuffle, as both choose which images an epoch visits, got"
                f" {self.data.sampler!r}; drop one of the two, or give data.prune=0"
            )
        if self.augment.mix != "none":
            raise UsageError(
                "data.prune needs augment.mix=none, as a mixture's loss tells of the draw more than of an image, got"
                f" {self.augment.mix!r}; drop one of the two, or give data.prune=0"
            )
        epochs = self.trainer.max_epochs
        if self.data.pruned_after(epochs) >= epochs:
            raise UsageError(
                f"data.prune_after must leave an epoch, and {self.data.prune_after} of trainer.max_epochs={epochs}"
                " leaves none; train longer, or give data.prune=0"
            )

    def _check_size(self, side: int) -> None:
        smallest = self.model.smallest
        if smallest is None:
            raise UsageError(
                f"augment.sizes needs a network that takes images of any size, and model={self.model.name} takes one;"
                " choose another augment, or model=whitened_cnn, resnet18 or resnet50"
            )
        within(
            "augment.sizes", side, smallest, self.data.side - 1, "from the network's smallest to below the images' own"
        )


def elsewhere(config: Config, data_root: str) -> Config:
    """Return the same run with its images in another place.

    Raises:
        UsageError: The data set has no place.
    """
    return dataclasses.replace(config, data=config.data.moved(data_root))


def kept_to_folder(config: Config) -> Config:
    """Return the same run without the loggers that also write outside of its folder."""
    kept = {name: each for name, each in config.logger.items() if not each.leaves_folder}
    return dataclasses.replace(config, loggers=list(kept), logger=kept)

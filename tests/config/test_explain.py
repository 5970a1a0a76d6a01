"""Test that errors of Hydra and OmegaConf become one sentence with the nearest key."""

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.components.data.folder import Folder
from imgrec.components.model.cnn import Cnn
from imgrec.components.optimizer.adam import Adam
from imgrec.components.optimizer.momentum import Momentum
from imgrec.config.augment import Augment
from imgrec.config.explain import SYNONYMS, explained, unknown_choice, unknown_key
from imgrec.config.root import Config
from imgrec.config.schemas import known_keys


def test_every_synonym_leads_to_a_key_that_exists() -> None:
    assert set(SYNONYMS.values()) <= set(known_keys())
    leaves = {key.rpartition(".")[2] for key in known_keys()}
    assert not leaves & set(SYNONYMS)


@pytest.mark.parametrize(
    ("key", "owner", "near"),
    [
        ("optimizer.learning_rate", Momentum, "optimizer.lr"),
        ("optimizer.momentun", Momentum, "optimizer.momentum"),
        ("augment.polcy", Augment, "augment.policy"),
        ("learning_rate", Config, "optimizer.lr"),
        ("epochs", Config, "trainer.max_epochs"),
        ("max_epochs", Config, "trainer.max_epochs"),
        ("batch_size", Config, "data.batch_size"),
        ("data.lr", Folder, "optimizer.lr"),
        ("sead", Config, "seed"),
    ],
)
def test_the_nearest_key_is_named(key: str, owner: type, near: str) -> None:
    assert str(unknown_key(key, owner)).startswith(f"{key} is not a key; did you mean {near}?")


def test_a_key_of_another_choice_says_whose_it_is_and_what_this_one_has() -> None:
    assert str(unknown_key("optimizer.nesterov", Adam)) == (
        "optimizer.nesterov is not a key of this choice, only of optimizer=momentum"
        " (Adam has lr, lr_scale, weight_decay, sam_rho, decay_norm_and_bias, layer_decay, head_scale, beta1, beta2,"
        " eps); choose optimizer=momentum, or leave it out"
    )


def test_a_key_near_nothing_is_to_be_removed() -> None:
    assert (
        str(unknown_key("zzzzzz", Config)) == "zzzzzz is not a key; remove it; imgrec train --help all lists the keys"
    )
    assert str(unknown_key("model.zzzzzz", Cnn)) == (
        "model.zzzzzz is not a key; remove it (Cnn has freeze, unfreeze_at, widths, depth, hidden, activation,"
        " batch_norm, dropout)"
    )


def test_an_unknown_choice_lists_the_known_ones() -> None:
    known = "trainer must be one of auto, cpu, ddp, gpu, got 'xyzzy'; one of your own needs --config-dir DIR"
    assert str(unknown_choice("trainer", "xyzzy")) == known
    assert str(unknown_choice("trainer", "gpus")).endswith("got 'gpus'; did you mean trainer=gpu?")
    assert str(unknown_choice("data", "xyzzy")) == (
        "data must be one of arrays, cifar10, cifar100, digits, eurosat, fashion_mnist, folder, huggingface,"
        " imagenette, kmnist, mnist, stl10, svhn, tiny_imagenet, got 'xyzzy'; one of your own needs"
        " --components FILE or --config-dir DIR"
    )


def test_the_innermost_cause_that_knows_the_key_speaks() -> None:
    config = OmegaConf.structured(Momentum)
    with pytest.raises(OmegaConfBaseException) as inner:
        config.lr = "fast"
    outer = HydraException("Error merging override optimizer.lr=fast")
    outer.__cause__ = inner.value
    assert str(explained(outer)) == ("lr: value 'fast' could not be converted to Float; give a value of the right type")


def test_an_error_without_a_key_gives_its_first_line_and_the_help() -> None:
    assert str(explained(HydraException("Something odd.\nand a page of detail"))) == (
        "Something odd; imgrec train --help all lists the keys"
    )

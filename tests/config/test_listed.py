"""Test lists of components: their settings, their form in records, and when they are part of an id."""

import pytest

from imgrec.config.compose import compose
from imgrec.config.identity import essence, run_id
from imgrec.config.serialize import flat, from_flat

NOISE = "test_protocols=[clean,gaussian_noise]"
SIGMAS = "protocol.gaussian_noise.sigmas=[0.5,1]"


def test_a_configuration_keeps_the_settings_of_the_components_that_it_names_alone() -> None:
    rows = flat(compose([]))
    assert not [key for key in rows if key.split(".")[0] in ("protocol", "callback", "logger")]
    assert (rows["test_protocols"], rows["callbacks"], rows["loggers"]) == (["clean"], [], ["tensorboard"])
    config = compose([NOISE, SIGMAS, "callbacks=[gradient_norm]"])
    assert list(config.protocol) == ["clean", "gaussian_noise"]
    assert flat(config)["protocol.gaussian_noise.sigmas"] == [0.5, 1.0]
    assert flat(config)["callback.gradient_norm.every"] == 50


@pytest.mark.parametrize("every", [7, "7"], ids=["as it is", "to be converted"])
def test_a_configuration_with_components_in_lists_comes_back_from_a_record(every: object) -> None:
    config = compose([NOISE, SIGMAS, "callbacks=[gradient_norm]", "callback.gradient_norm.every=7", "loggers=[]"])
    assert from_flat({**flat(config), "callback.gradient_norm.every": every}) == config


def test_a_record_of_an_older_version_names_no_lists() -> None:
    rows = {key: value for key, value in flat(compose([])).items() if key not in ("callbacks", "loggers")}
    assert from_flat(rows) == compose([])


def test_settings_of_protocols_are_part_of_a_run_and_those_that_only_observe_are_not() -> None:
    plain = compose([])
    for words in (["callbacks=[gradient_norm]", "callback.gradient_norm.every=3"], ["loggers=[]"]):
        assert run_id(compose(words), "0") == run_id(plain, "0")
    assert essence(compose([NOISE, SIGMAS])) == {
        **essence(plain),
        "test_protocols": ["clean", "gaussian_noise"],
        "protocol.gaussian_noise.sigmas": [0.5, 1.0],
    }

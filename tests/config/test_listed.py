"""Test lists of components: their settings, their form in records, and when they are part of an id."""

import pytest

from imgrec.config.compose import compose
from imgrec.config.identity import essence, run_id
from imgrec.config.listed import refuse_idle
from imgrec.config.serialize import flat, from_flat
from imgrec.errors import UsageError

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


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"protocol.clean.name": "tta_flip"}, "protocol.clean.name is not a key"),
        ({"protocol.mine.x": 1}, "protocol must be one of"),
        ({"callbacks": [{"a": 1}]}, "callbacks must"),
        ({"loggers": [["tensorboard"]]}, "loggers must"),
    ],
)
def test_a_record_whose_lists_no_command_could_give_is_refused(rows: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        from_flat({**flat(compose([])), **rows})


def test_deviations_whose_rows_would_have_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="sigmas must name deviations, each once"):
        compose([NOISE, "protocol.gaussian_noise.sigmas=[0.1,0.1000000001]"])


def test_settings_of_a_component_that_a_run_of_a_sweep_does_not_name_are_left_out() -> None:
    words = ["callback.gradient_norm.every=3"]
    refuse_idle(words, {"protocol": [], "callback": ["gradient_norm"], "logger": []})
    assert compose(words).callback == {}
    with pytest.raises(UsageError, match=r"every=3 has no effect without callbacks=\[gradient_norm\]; add that"):
        refuse_idle(words, {"protocol": [], "callback": [], "logger": []})

"""Build the messages that TensorBoard's HPARAMS page reads, for a run and for a folder of runs. Imports no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from imgrec import untrusted_text
from imgrec.config.root import AXES
from imgrec.config.schemas import keys_outside_identity

_VARIED = (*AXES, "protocol", "callback")  # axes whose keys are part of a run's identity
Value = bool | int | float | str

_SCORES = tuple(
    (split, metric, at) for at in ("best", "last") for metric in ("top1", "loss") for split in ("val", "test")
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table, with the different values of the runs."""

    key: str
    values: Sequence[Value]


def score_tags(present: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return the tags and titles of the scores that the table shows, validation top1 first.

    Args:
        present: The (split, metric, at) that were measured, in any order.
    """
    found = set(present)
    return {
        score_tag(split, metric, at): f"{split} {metric} at {at}"
        for split, metric, at in _SCORES
        if (split, metric, at) in found
    }


def score_tag(split: str, metric: str, at: str) -> str:
    """Return the scalar tag of a run's score."""
    return f"hp/{split}_{metric}_{at}"


def values_of(config: Mapping[str, Any], parent: str | None) -> dict[str, Value]:
    """Return the values of a run that may become columns: all values of a flat configuration that identify the run.

    Keys are as `column_of` returns them.

    Args:
        config: The flat configuration.
        parent: The name of the folder that the run continued from.
    """
    outside = keys_outside_identity() - {"experiment", "data.root", "init_from"}
    rows = {
        column_of(key): value_of(value)
        for key, value in config.items()
        if key not in outside and ("." not in key or key.partition(".")[0] in _VARIED)
    }
    return {**rows, **({"parent": value_of(parent)} if parent else {})}


def column_of(key: str) -> str:
    """Return the name of a key's column, as the command line takes the key: `optimizer` for `optimizer.name`."""
    return untrusted_text.visible(key.removesuffix(".name"))


def value_of(value: Any) -> Value:
    """Return the value in a form that TensorBoard can store: a finite float64, a truth value or a UTF-8 text.

    Any other number becomes a text, and bytes of a path that are not UTF-8 become escapes.
    """
    if value is None:
        return "null"
    if isinstance(value, bool) or (isinstance(value, (int, float)) and _is_float64(value)):
        return value
    return untrusted_text.visible(str(value))


def _is_float64(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # the integer is too large
        return False


def run_began(values: Mapping[str, Value], *, trial: str) -> Summary:
    """Return the message for a run's start. trial: the run's unique name in the table."""
    start = plugin_data_pb2.SessionStartInfo(group_name=untrusted_text.visible(trial))
    for key, value in values.items():
        if isinstance(value, bool):
            start.hparams[key].bool_value = value
        elif isinstance(value, str):
            start.hparams[key].string_value = value
        else:
            start.hparams[key].number_value = value
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start))


def run_ended() -> Summary:
    """Return the message for the end of a run that finished."""
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def table(columns: Sequence[Column], scores: Mapping[str, str]) -> Summary:
    """Return a folder's message: the columns of its table. scores: tags and titles, in their order."""
    experiment = api_pb2.Experiment(
        hparam_infos=[_info(column) for column in columns],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title) for tag, title in scores.items()
        ],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _info(column: Column) -> api_pb2.HParamInfo:
    """Return the column with the type of its values, from which TensorBoard makes its filters."""
    values = column.values
    info = api_pb2.HParamInfo(name=column.key, differs=len(values) > 1)
    if all(isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_BOOL
        info.domain_discrete.extend(sorted(values))
    elif all(isinstance(value, str) for value in values):
        info.type = api_pb2.DATA_TYPE_STRING
        info.domain_discrete.extend(sorted(values))
    elif all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value = min(values)
        info.domain_interval.max_value = max(values)
    else:  # a filter over values of several types would hide some of them
        info.type = api_pb2.DATA_TYPE_STRING
    return info


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])

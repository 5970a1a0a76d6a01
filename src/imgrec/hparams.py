"""The messages that TensorBoard's HPARAMS page reads: one of each run, one of a folder of runs. Imports no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from imgrec import untrusted_text
from imgrec.config.root import AXES
from imgrec.config.schemas import keys_outside_identity

_VARIED = (*AXES, "protocol", "callback")  # axes whose keys tell what a run is
Value = bool | int | float | str

_SCORES = tuple(
    (split, metric, at) for at in ("best", "last") for metric in ("top1", "loss") for split in ("val", "test")
)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table. values: what the runs have there, each once."""

    key: str
    values: Sequence[Value]


def score_tags(present: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """The tags of the scores that the table shows and their titles, validation top1 first.

    present: the (split, metric, at) that were measured, in any order.
    """
    found = set(present)
    return {
        score_tag(split, metric, at): f"{split} {metric} at {at}"
        for split, metric, at in _SCORES
        if (split, metric, at) in found
    }


def score_tag(split: str, metric: str, at: str) -> str:
    """The scalar tag under which a run's score lies."""
    return f"hp/{split}_{metric}_{at}"


def values_of(config: Mapping[str, Any], parent: str | None) -> dict[str, Value]:
    """The values of a run that may become columns: of a flat configuration all that tells what the run is.

    Keys are as `column_of` gives them.

    parent: the name of the folder that the run went on from.
    """
    outside = keys_outside_identity() - {"experiment", "data.root"}
    rows = {
        column_of(key): value_of(value)
        for key, value in config.items()
        if key not in outside and ("." not in key or key.partition(".")[0] in _VARIED)
    }
    return {**rows, **({"parent": value_of(parent)} if parent else {})}


def column_of(key: str) -> str:
    """The name of a key's column, as the command line takes the key: `optimizer` for `optimizer.name`."""
    return untrusted_text.visible(key.removesuffix(".name"))


def value_of(value: Any) -> Value:
    """The value as TensorBoard keeps it: a finite number of float64, a truth value or a text of UTF-8.

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
    except OverflowError:  # an integer beyond it
        return False


def run_began(values: Mapping[str, Value], *, trial: str) -> Summary:
    """The message at a run's start. trial: its name in the table, which no other run has."""
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
    """The message at the end of a run that finished."""
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS)
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end))


def table(columns: Sequence[Column], scores: Mapping[str, str]) -> Summary:
    """The message of a folder: which columns the table of its runs has. scores: tags and titles, in their order."""
    experiment = api_pb2.Experiment(
        hparam_infos=[_info(column) for column in columns],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title) for tag, title in scores.items()
        ],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment))


def _info(column: Column) -> api_pb2.HParamInfo:
    """The column with the kind of its values, from which TensorBoard makes its filters."""
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
    else:  # a filter over values of several kinds would hide some
        info.type = api_pb2.DATA_TYPE_STRING
    return info


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])

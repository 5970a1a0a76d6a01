"""Read TensorBoard's HPARAMS page of a folder, as its server sends it to the browser."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups


@dataclass(frozen=True, kw_only=True)
class Page:
    """columns, scores: their titles in the page's order. rows: the values by title, by the trial's name.

    filters: the values that each column of texts can be narrowed to.
    """

    columns: list[str]
    scores: list[str]
    rows: dict[str, dict[str, Any]]
    filters: dict[str, list[Any]]


def hparams_page(folder: Path) -> Page:
    """What the page shows of the runs below the folder, read from the disk as by a new TensorBoard."""
    flags = Namespace(
        logdir=str(folder),
        logdir_spec="",
        reload_interval=0,
        samples_per_plugin={},
        max_reload_threads=1,
        reload_task="blocking",
        reload_multifile=True,
        reload_multifile_inactive_secs=-1,
        generic_data="auto",
        detect_file_replacement=None,
        window_title="",
        purge_orphaned_data=True,
    )
    ingester = LocalDataIngester(flags)
    ingester.start()
    context = backend_context.Context(TBContext(data_provider=ingester.data_provider))
    asked = RequestContext()
    experiment = get_experiment.Handler(asked, context, "", api_pb2.GetExperimentRequest(hparams_limit=1000)).run()
    rows = {}
    everything = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[
            api_pb2.STATUS_UNKNOWN,
            api_pb2.STATUS_SUCCESS,
            api_pb2.STATUS_FAILURE,
            api_pb2.STATUS_RUNNING,
        ],
        slice_size=1000,
    )
    titles = {info.name: info.display_name or info.name for info in experiment.hparam_infos}
    scores = {info.name.tag: info.display_name or info.name.tag for info in experiment.metric_infos}
    for group in list_session_groups.Handler(asked, context, "", everything).run().session_groups:
        values = {key: _plain(group.hparams[key]) for key in titles if key in group.hparams}
        measured = {value.name.tag: value.value for value in group.metric_values}
        rows[group.name] = {titles[key]: value for key, value in values.items()} | {
            title: measured[tag] for tag, title in scores.items() if tag in measured
        }
    filters = {titles[info.name]: list(info.domain_discrete) for info in experiment.hparam_infos}
    return Page(columns=list(titles.values()), scores=list(scores.values()), rows=rows, filters=filters)


def _plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))

"""Carry out `imgrec report`: write one page with tables, charts and scripts that needs no network. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from imgrec import __version__
from imgrec.errors import RunError
from imgrec.report.charts import charts
from imgrec.report.context import report_context
from imgrec.tables import command
from imgrec.tables.gather import gather
from imgrec.tables.table import Request
from imgrec.text_files import write_result

_HERE = Path(__file__).parent
_MOST_ROWS = 400  # rows of a chart's numbers on the page


@dataclass(frozen=True, kw_only=True)
class Written:
    """The path of the page, and what could not be read for it."""

    path: Path
    problems: list[str]


def report(places: Sequence[Path], asked: Request, output: Path, *, published: str | None) -> Written:
    """Write the page about the runs below the places. The request has the same form as for `imgrec table`.

    Raises:
        UsageError: The request names something that the runs do not have.
        RunError: The page cannot be written.
    """
    found = gather(places)
    if not found.runs:
        raise RunError(f"none of the {len(found.problems)} records could be read, the first: {found.problems[0]}")
    table = command.of(found, asked, published)
    context = report_context(table, [*found.problems, *table.problems], output)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    drawn_charts = charts(context)
    vega = vl_convert.javascript_bundle() if drawn_charts else ""  # type: ignore[call-arg] # the stub lacks its default
    text = environment.get_template("page.html").render(
        context=context,
        table=table,
        charts=drawn_charts,
        remarks=context.chart_data.remarks,
        most_rows=_MOST_ROWS,
        specs=_json({chart.key: chart.spec for chart in drawn_charts}),
        style=(_HERE / "page.css").read_text("utf-8"),
        script=(_HERE / "page.js").read_text("utf-8"),
        vega=_embeddable(vega),
        version=__version__,
    )
    write_result(output, text)
    return Written(path=output, problems=context.problems)


def _json(value: Any) -> str:
    """Return JSON that is safe inside a <script>: no name of a class or folder can end the element."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _embeddable(script: str) -> str:
    """Return the script with the character sequences that would end its element escaped."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")

"""Define the commands on finished runs: table, report, figure. Heavy imports happen on use."""

from pathlib import Path
from typing import Annotated

import typer

from imgrec import streams, text_files
from imgrec.errors import RunError
from imgrec.untrusted_text import folded, visible

# options that `table` and `report` share
_Places = Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of runs, or records.")]
_ScoresOption = Annotated[
    str,
    typer.Option(help="The scores to show: top1, top5, loss, iou, ece, ece_debiased, balanced_accuracy, macro_f1, ..."),
]
_AtOption = Annotated[str, typer.Option(help="best (last where there is none) or last.")]
_SplitOption = Annotated[
    str | None, typer.Option(help="test or val; without it, test where it was opened (test=false keeps it closed).")
]
_ProtocolOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="clean, tta_flip; gaussian_noise (all its rows), gaussian_noise:0.1 (one), gaussian_noise:0.1:seed=2 (as"
        " measured so); without it, clean, or what was measured.",
    ),
]
_RowsOption = Annotated[
    str, typer.Option(metavar="KEY,KEY", help="Factors to tell settings apart by; nothing else may vary.")
]
_BaselineOption = Annotated[
    list[str], typer.Option(metavar="KEY=VALUE", help="Compare with it, seed by seed; may be repeated.")
]
_WhereOption = Annotated[
    list[str],
    typer.Option(metavar="KEY=VALUE", help="Runs that have it, or one of A,B; KEY!=VALUE: not it; may be repeated."),
]
_NamesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help='A TOML file of names, such as "optimizer=sgd" = "SGD".')
]
_SortOption = Annotated[
    str | None, typer.Option(metavar="KEY", help="Order by a score, the best first, or by a factor.")
]
_AverageOption = Annotated[
    str, typer.Option(metavar="KEY,KEY", help="Factors to average over, seed by seed; it is stated as such.")
]
_PublishedOption = Annotated[
    str | None, typer.Option(help="Sources of published figures, none, or a .toml file; without it, the study's.")
]


def table(
    places: _Places,
    form: Annotated[
        str | None,
        typer.Option("--format", help="markdown, latex or csv (of --runs csv or json); without it, as -o ends."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="A row a run, with all that is known of it.")] = False,
    scores: _ScoresOption = "top1",
    at: _AtOption = "best",
    split: _SplitOption = None,
    protocol: _ProtocolOption = None,
    rows: _RowsOption = "",
    columns: Annotated[
        str | None, typer.Option(metavar="KEY", help="A factor whose values become columns, of one score (not in csv).")
    ] = None,
    baseline: _BaselineOption = [],  # noqa: B006 # typer hands it over; nobody changes it
    contrast: Annotated[
        list[str],
        typer.Option(
            metavar="A vs B",
            help="Compare two settings, such as 'loss=mse vs loss=brier'; with ' under C vs D', how far that depends"
            " on a condition; may be repeated.",
        ),
    ] = [],  # noqa: B006
    where: _WhereOption = [],  # noqa: B006
    published: _PublishedOption = None,
    names: _NamesOption = None,
    sort: _SortOption = None,
    average: _AverageOption = "",
    hide: Annotated[
        str,
        typer.Option(
            metavar="WHAT,WHAT",
            help="Of n,std,interval,new_images,difference,p,published,parameters,flops,seconds: what is not shown.",
        ),
    ] = "",
    caption: Annotated[str | None, typer.Option(help="Of latex; without it, the verdict.")] = None,
    label: Annotated[str | None, typer.Option(help="Of latex, such as tab:optimizers.")] = None,
    siunitx: Annotated[
        bool, typer.Option("--siunitx", help="Of latex: numbers aligned by the package siunitx.")
    ] = False,
    digits: Annotated[int | None, typer.Option(min=0, max=15, help="Digits behind the point.")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Write here instead of to stdout.")] = None,
) -> None:
    """Tabulate runs: mean, deviation, intervals, differences and what the seeds can tell.

    Such as: imgrec table outputs/digits --scores top1,ece --baseline optimizer=adam
    """
    from imgrec.tables import command

    asked = command.request(
        scores=scores,
        at=at,
        split=split,
        protocol=protocol,
        baseline=baseline,
        where=where,
        rows=rows,
        columns=columns,
        names=names,
        sort=sort,
        average=average,
        contrast=contrast,
    )
    form = command.form_of(form, output, runs=runs)
    if runs:
        given = {
            "--scores": scores != "top1",
            "--at": at != "best",
            "--split": split is not None,
            "--protocol": protocol is not None,
            "--rows": bool(rows),
            "--columns": columns is not None,
            "--baseline": bool(baseline),
            "--contrast": bool(contrast),
            "--published": published is not None,
            "--names": names is not None,
            "--sort": sort is not None,
            "--average": bool(average),
            "--hide": bool(hide),
            "--caption": caption is not None,
            "--label": label is not None,
            "--siunitx": siunitx,
            "--digits": digits is not None,
        }
        made = command.runs(places, asked, form=form, given=given)
    else:
        layout = command.layout(hide=hide, caption=caption, label=label, siunitx=siunitx, form=form)
        made = command.table(places, asked, form=form, published=published, digits=digits, layout=layout)
    if made.text:
        _write_result(made.text, output)
    _report_problems(made.problems, made.remarks)


def report(
    places: _Places,
    output: Annotated[Path, typer.Option("-o", help="The page to write.")] = Path("page.html"),
    scores: _ScoresOption = "top1",
    at: _AtOption = "best",
    split: _SplitOption = None,
    protocol: _ProtocolOption = None,
    rows: _RowsOption = "",
    baseline: _BaselineOption = [],  # noqa: B006
    where: _WhereOption = [],  # noqa: B006
    published: _PublishedOption = None,
) -> None:
    """Write one page about runs: tables, curves, calibration, confusion, failures, commands. It needs no network."""
    from imgrec.report.page import report as write
    from imgrec.tables import command

    asked = command.request(
        scores=scores, at=at, split=split, protocol=protocol, baseline=baseline, where=where, rows=rows
    )
    written = write(places, asked, output, published=published)
    tell(str(written.path))
    _report_problems(written.problems, [])


def figure(
    places: _Places,
    output: Annotated[Path, typer.Option("-o", help="The file to write: .pdf, .svg or .png.")] = Path("figure.pdf"),
    kind: Annotated[
        str, typer.Option(help="dots (runs, means, intervals), curves (means with a band) or cost (score against it).")
    ] = "dots",
    scores: _ScoresOption = "top1",
    at: _AtOption = "best",
    split: Annotated[str | None, typer.Option(help="test or val, as for a table; of curves val or train.")] = None,
    protocol: _ProtocolOption = None,
    rows: _RowsOption = "",
    where: _WhereOption = [],  # noqa: B006
    colour: Annotated[
        str | None, typer.Option(metavar="KEY", help="The factor told apart by colour and mark, or none.")
    ] = None,
    cost: Annotated[str, typer.Option(help="Of --kind cost: seconds, flops or parameters.")] = "seconds",
    names: _NamesOption = None,
    sort: _SortOption = None,
    average: _AverageOption = "",
    limits: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Ends of the score's axis; what lies beyond is named.")
    ] = None,
    width: Annotated[str, typer.Option(help="column (3.25 inches), page (6.75), or inches.")] = "column",
) -> None:
    """Draw runs for print: 8 point, fonts embedded, colours that the colour-blind tell apart.

    It shows the numbers of `imgrec table`, and prints what its caption must say.
    Such as: imgrec figure outputs/digits --width page -o optimizers.pdf
    """
    from imgrec.figure.command import figure as draw
    from imgrec.figure.command import look
    from imgrec.tables import command

    wanted = look(kind=kind, width=width, colour=colour, cost=cost, split=split, limits=limits)
    asked = command.request(
        scores=scores,
        at=at,
        split=None if kind == "curves" else split,
        protocol=protocol,
        baseline=[],
        where=where,
        rows=rows,
        names=names,
        sort=sort,
        average=average,
    )
    drawn = draw(places, asked, wanted, output)
    verdict = [folded(drawn.verdict), ""] if drawn.verdict else []
    tell("\n".join([str(drawn.path), "", *verdict, *(f"- {folded(note)}" for note in drawn.notes)]))
    _report_problems(drawn.problems, [])


def _write_result(text: str, output: Path | None) -> None:
    """Print a result, or write it completely to the file."""
    if output is None or str(output) == "-":
        tell(text.rstrip("\n"))
    else:
        text_files.write_result(output, text)
        tell(str(output))


def _report_problems(problems: list[str], remarks: list[str]) -> None:
    """Print on stderr what was left out and what could not be read.

    Raises:
        RunError: Something could not be read.
    """
    for line in (*remarks, *problems):
        typer.echo(f"imgrec: {folded(line)}", err=True)
    if problems:
        raise RunError(f"{len(problems)} of the files could not be read and are named above; mend or move them")


def tell(text: str) -> None:
    """Print a result. A reader who has gone away (`imgrec train ... | head`) does not end a sweep.

    Raises:
        RunError: It cannot be written (`streams`). The computed results are in their folder by then.
    """
    try:
        typer.echo(visible(text))
    except BrokenPipeError:
        streams.discard_stdout()

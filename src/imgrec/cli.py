"""The `imgrec` command: parses, hands over, prints. Heavy imports wait until a command needs them."""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from imgrec import streams
from imgrec.errors import Interrupted, RunError, UsageError, interruption_in
from imgrec.foreign import folded, visible

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What does this optimizer, this loss, this layer really do to an image classifier?",
)
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i")  # Hydra's options whose value is the next word

_WORDS = "imgrec.words"  # what stands beside the options of `train`


class _TrainCommand(TyperCommand):
    """`train`, whose help explains the choices and keys that stand beside --help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = [word for word in args if not word.startswith("-")]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from imgrec.reference import reference

        formatter.write(reference(ctx.meta[_WORDS]))


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        import imgrec

        _tell(f"imgrec {imgrec.__version__}")
        raise typer.Exit
    try:
        Path.cwd()
    except OSError as error:
        raise RunError(f"the working folder must exist, got: {error.strerror}; cd to one that does") from error


@app.command(cls=_TrainCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(
    context: typer.Context,
    multirun: Annotated[bool, typer.Option("-m", "--multirun", help="Every combination of the values.")] = False,
) -> None:
    """Train: one run, or with -m every combination of the values given after commas."""
    from imgrec import allocator, hydra_runtime, launch, summary
    from imgrec.config.compose import of_study

    allocator.keep_freed_memory()
    flags, overrides = [], []
    words = iter(context.args)
    for word in words:
        if word.startswith("-"):
            flags.append(word)
            flags.extend([next(words, "")] if word in _WITH_VALUE else [])
        else:
            overrides.append(word)
    if flags:
        hydra_runtime.show(overrides, flags, multirun=multirun)
    elif multirun or of_study(overrides) is not None:
        _sweep(overrides)
    else:
        outcome = launch.train(overrides)
        if outcome.tried:
            _tell(summary.tried(outcome.record))
        else:
            _tell(summary.describe(outcome.folder, outcome.record, already=outcome.already, named=outcome.named))


def _sweep(overrides: list[str]) -> None:
    from imgrec import summary
    from imgrec.sweep.run import Sweep

    sweep = Sweep(overrides)
    try:
        sweep.run()
    finally:  # one that was interrupted, or of which a run failed, has finished others
        if outcomes := sweep.outcomes:
            _tell(summary.overview(outcomes, complete=sweep.complete))


def _tell(text: str) -> None:
    """Print a result; a reader who has gone away (`imgrec train ... | head`) is no reason to end a sweep.

    Raises RunError where it cannot be written (`streams`). What was computed lies in its folder by then.
    """
    try:
        typer.echo(visible(text))
    except BrokenPipeError:
        streams.discard_stdout()


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint file.")],
    protocol: Annotated[str, typer.Option(help="clean, tta_flip or tta_flip_shift.")] = "clean",
    at: Annotated[str | None, typer.Option(help="best or last; without it, best where there is one.")] = None,
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    precision: Annotated[str | None, typer.Option(help="32 or bf16; without it, the run's test_precision.")] = None,
    data_root: Annotated[
        str | None,
        typer.Option(help="Where the run's images lie now; or other images, to measure all, or their test/."),
    ] = None,
    allow_trained: Annotated[
        bool, typer.Option("--allow-trained", help="Measure other images although the run was trained on some.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", help="Write here instead of the run's evaluations/.")] = None,
) -> None:
    """Measure a trained network under a protocol."""
    from imgrec import allocator, remeasure, summary

    allocator.keep_freed_memory()
    measured = remeasure.evaluate(
        run,
        protocol=protocol,
        at=at,
        split=split,
        precision=precision,
        data_root=data_root,
        allow_trained=allow_trained,
        output=output,
    )
    for line in measured.remarks:
        typer.echo(f"imgrec: {folded(line)}", err=True)
    if measured.path is None:
        _tell(measured.text)
    else:
        _tell(f"{measured.about}\n\n{summary.scores_table(measured.scores)}\n\n{measured.path}")


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    data_root: Annotated[str | None, typer.Option(help="Where the images lie, if elsewhere than for the run.")] = None,
) -> None:
    """Run a finished run again from its record: bit-equal, or where it drifts first."""
    from imgrec import allocator
    from imgrec.verify import verify as run_again

    allocator.keep_freed_memory()
    verdict = run_again(run, data_root=data_root)
    _tell(verdict.text)
    if verdict.refusal:
        raise RunError(verdict.refusal)


# what `table` and `report` are both asked
_Places = Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of runs, or records.")]
_ScoresOption = Annotated[str, typer.Option(help="The scores to show, of top1,top5,loss,iou,ece,ece_debiased.")]
_AtOption = Annotated[str, typer.Option(help="best (last where there is none) or last.")]
_SplitOption = Annotated[
    str | None, typer.Option(help="test or val; without it, test where it was opened (test=false keeps it closed).")
]
_ProtocolOption = Annotated[
    str | None, typer.Option(help="clean, tta_flip, tta_flip_shift; without it, clean, or what was measured.")
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


@app.command()
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
        _hand_over(made.text, output)
    _tell_problems(made.problems, made.remarks)


@app.command()
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
    _tell(str(written.path))
    _tell_problems(written.problems, [])


@app.command()
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
    _tell("\n".join([str(drawn.path), "", *verdict, *(f"- {folded(note)}" for note in drawn.notes)]))
    _tell_problems(drawn.problems, [])


def _hand_over(text: str, output: Path | None) -> None:
    """Print a result, or write it to the file as a whole."""
    if output is None or str(output) == "-":
        _tell(text.rstrip("\n"))
    else:
        from imgrec import records

        records.hand_out(output, text)
        _tell(str(output))


def _tell_problems(problems: list[str], remarks: list[str]) -> None:
    """Say on stderr what was left out and what could not be read. Raises RunError where something could not."""
    for line in (*remarks, *problems):
        typer.echo(f"imgrec: {folded(line)}", err=True)
    if problems:
        raise RunError(f"{len(problems)} of the files could not be read and are named above; mend or move them")


def main() -> None:
    """Run the command; every refusal becomes one line on stderr and an exit code.

    0 done, 1 failed, 2 wrong usage; interrupted and resumable: 129 (SIGHUP), 130 (Ctrl-C), 138 (SIGUSR1) and 143
    (SIGTERM).
    IMGREC_DEBUG=1 shows tracebacks.
    """
    with streams.prepared():
        sys.exit(_code())


def _code() -> Any:
    try:
        code: Any = _answered()
    except Interrupted as error:
        ahead = "the same command goes on from here" if error.resumable else "nothing is recorded"
        code = _say(f"interrupted by {error}: {ahead}", error, error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        code = _say("interrupted", error, 130)
    except UsageError as error:
        code = _say(str(error), error, 2)
    except RunError as error:
        code = _say(str(error), error, 1)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `imgrec` alone: its help, as it is
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
            code = 2
        elif hasattr(error, "format_message"):  # click's own, of whichever copy typer uses
            code = _say(error.format_message(), error, 2)
        else:
            code = _say(f"{type(error).__name__}: {error} (IMGREC_DEBUG=1 shows where)", error, 1)
    try:
        sys.stdout.flush()  # what Hydra printed; Python would only say that it ignores an exception
    except BrokenPipeError:
        streams.discard_stdout()
    except RunError as error:
        code = _say(str(error), error, code or 1)
    return code


def _answered() -> Any:
    """What the command returns, or how it was refused or interrupted."""
    try:
        return app(standalone_mode=False)
    except Exception as error:
        if cut := interruption_in(error):
            raise cut from None
        raise


def _say(message: str, error: BaseException, code: int) -> int:
    if os.environ.get("IMGREC_DEBUG") == "1":
        traceback.print_exception(error)
    print("imgrec:", folded(message), file=sys.stderr)
    return code

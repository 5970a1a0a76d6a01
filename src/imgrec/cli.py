"""Define the `imgrec` command: parse words, call the code, print results. Heavy imports happen on use."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from imgrec import command_end, results, streams
from imgrec.errors import RunError
from imgrec.results import tell
from imgrec.train_help import TrainCommand
from imgrec.untrusted_text import folded

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="What does this optimizer, this loss, this layer really do to an image classifier?",
)
_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--info", "-i")  # Hydra's options that take the next word as value


Components = Annotated[
    list[Path] | None,
    typer.Option(
        "--components", metavar="FILE", help="A file of components; give it again for another. It is code, and runs."
    ),
]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        import imgrec

        tell(f"imgrec {imgrec.__version__}")
        raise typer.Exit
    try:
        Path.cwd()
    except OSError as error:
        raise RunError(f"the working folder must exist, got: {error.strerror}; cd to one that does") from error


@app.command(cls=TrainCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def train(
    context: typer.Context,
    multirun: Annotated[bool, typer.Option("-m", "--multirun", help="Every combination of the values.")] = False,
    components: Components = None,
    config_dir: Annotated[
        Path | None,
        typer.Option("--config-dir", metavar="DIR", help="A folder of your own choices, recipes and studies."),
    ] = None,
) -> None:
    """Train: one run, or with -m every combination of the values given after commas."""
    from imgrec.training.interruption import requeued_at_once

    context.with_resource(requeued_at_once())
    from imgrec import allocator, hydra_runtime, launch, summary
    from imgrec.config import folders, outside
    from imgrec.config.compose import of_study

    outside.load(components or [])
    context.with_resource(folders.also(config_dir))
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
            tell(summary.tried(outcome.record))
        else:
            tell(summary.describe(outcome.folder, outcome.record, already=outcome.already, named=outcome.named))


def _sweep(overrides: list[str]) -> None:
    from imgrec import summary
    from imgrec.sweeps.run import Sweep

    sweep = Sweep(overrides)
    if sweep.is_estimate:
        tell(sweep.estimate())
        return
    try:
        sweep.run()
    finally:  # an interrupted sweep, or one with a failed run, has finished other runs
        if outcomes := sweep.outcomes:
            tell(summary.overview(outcomes, complete=sweep.complete))


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint file.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the protocol: protocol.gaussian_noise.sigmas=[0.1]"),
    ] = None,
    protocol: Annotated[str, typer.Option(help="How to measure; imgrec train --help protocol lists them.")] = "clean",
    at: Annotated[
        str | None,
        typer.Option(
            help="last, or best: highest top1 on validation, then lowest loss; without it, best if there is one."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    precision: Annotated[str | None, typer.Option(help="32 or bf16; without it, the run's test_precision.")] = None,
    device: Annotated[str, typer.Option(help="cpu, gpu, or auto: the GPU where there is one.")] = "auto",
    data_root: Annotated[
        str | None,
        typer.Option(help="Where the run's images lie now; or other images, to measure all, or their test/."),
    ] = None,
    allow_trained: Annotated[
        bool, typer.Option("--allow-trained", help="Measure other images although the run was trained on some.")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", help="Write here instead of the run's evaluations/.")] = None,
    components: Components = None,
) -> None:
    """Measure a trained network under a protocol."""
    from imgrec import allocator, evaluate, summary
    from imgrec.config import outside

    outside.load(components or [])
    allocator.keep_freed_memory()
    measured = evaluate.evaluate(
        run,
        protocol=protocol,
        settings=settings or [],
        at=at,
        split=split,
        precision=precision,
        device=device,
        data_root=data_root,
        allow_trained=allow_trained,
        output=output,
    )
    for line in measured.remarks:
        typer.echo(f"imgrec: {folded(line)}", err=True)
    if measured.path is None:
        tell(measured.text)
    else:
        tell(f"{measured.about}\n\n{summary.scores_table(measured.scores)}\n\n{measured.path}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or a checkpoint file.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    at: Annotated[str | None, typer.Option(help="best or last; without it, best if there is one.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="FILE.csv", help="Write the probability of each class here.")
    ] = None,
    components: Components = None,
) -> None:
    """Say what a trained network sees in images."""
    from imgrec import allocator, evaluate, text_files
    from imgrec.config import outside

    outside.load(components or [])
    allocator.keep_freed_memory()
    trained = evaluate.load(run, at=at)
    said = trained.predict(images)
    if output is not None:
        text_files.write_text(output, said.as_csv([str(path) for path in images]))
        if not trained.config.loss.gives_probabilities:
            typer.echo(
                f"imgrec: loss={trained.config.loss.name} estimates no probabilities: the numbers in {output} only"
                " order the classes of each image",
                err=True,
            )
    names = [folded(str(path)) for path in images]
    width = max(map(len, names))
    for name, label, confidence in zip(names, said.labels, said.confidence_n.tolist(), strict=True):
        sure = f"  {confidence:.4f}" if trained.config.loss.gives_probabilities else ""
        tell(f"{name:<{width}}  {folded(label)}{sure}")
    if output is not None:
        tell(f"\n{output}")


@app.command()
def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    data_root: Annotated[str | None, typer.Option(help="Where the images lie, if elsewhere than for the run.")] = None,
    components: Components = None,
) -> None:
    """Run a finished run again from its record: bit-equal, or where it drifts first."""
    from imgrec import allocator
    from imgrec.config import outside
    from imgrec.verify import verify as run_again

    outside.load(components or [])
    allocator.keep_freed_memory()
    verdict = run_again(run, data_root=data_root)
    tell(verdict.text)
    if verdict.refusal:
        raise RunError(verdict.refusal)


@app.command(name="lr-find")
def lr_find(
    words: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="The words of a run, as for train.")],
    low: Annotated[float, typer.Option("--from", help="The first factor of the optimizer's rate.")] = 0.001,
    high: Annotated[float, typer.Option("--to", help="The last factor.")] = 1000.0,
    steps: Annotated[int, typer.Option("--steps", help="Optimizer steps.")] = 100,
    output: Annotated[Path, typer.Option("-o", help="The folder for a table and a figure.")] = Path("lr-find"),
    components: Components = None,
) -> None:
    """Raise a run's learning rate over a few steps, and suggest the one at which the loss falls fastest."""
    from imgrec import allocator
    from imgrec.config import outside
    from imgrec.lr_find import lr_find as find

    outside.load(components or [])
    allocator.keep_freed_memory()
    found = find(words, output=output, low=low, high=high, steps=steps)
    tell(f"the loss falls fastest at a learning rate of {found.rate:g}: {found.path}/lr_find.png\n\n{found.command}")


@app.command(name="_job", hidden=True)
def job(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="JOB.json", help="A job as imgrec writes it; -: stdin.")],
) -> None:
    """Carry out the run of a job, or train along in it: so begin the other processes of a distributed run."""
    from imgrec.training.interruption import requeued_at_once

    context.with_resource(requeued_at_once())
    from imgrec import allocator, ddp_processes, launch, process_ends
    from imgrec.job import Job

    ddp_processes.end_with_first()
    allocator.keep_freed_memory()
    with process_ends.telling(ddp_processes.tell):
        launch.carry_out(Job.from_json(sys.stdin.read(), "stdin") if path == Path("-") else Job.read(path))


sweep_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look after a sweep, from any machine.")
app.add_typer(sweep_app, name="sweep")
SweepFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The sweep's folder.")]


@sweep_app.command(name="status")
def sweep_status(folder: SweepFolder) -> None:
    """Say how many runs are in which state, and where those are that have not finished."""
    from imgrec.sweeps import standing

    tell(standing.status(folder))


@sweep_app.command(name="cancel")
def sweep_cancel(folder: SweepFolder) -> None:
    """Cancel the sweep's jobs in SLURM's queue; runs that have begun save first."""
    from imgrec.sweeps import standing

    tell(standing.cancel(folder))


for command in (results.table, results.report, results.figure):
    app.command()(command)


def main() -> None:
    """Run the command. Every error becomes one line on stderr and an exit code.

    The codes are 0 for success, 1 for failure and 2 for wrong usage; for an interrupted run that can be resumed, 129
    (SIGHUP), 130 (Ctrl-C), 138 (SIGUSR1) and 143 (SIGTERM). IMGREC_DEBUG=1 shows tracebacks.
    """
    with streams.prepared():
        sys.exit(command_end.exit_code(lambda: app(standalone_mode=False)))

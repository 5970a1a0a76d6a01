"""imgrec: what does this optimizer, this loss, this layer really do to an image classifier?

    import imgrec

    run = imgrec.train(["experiment=demo", "seed=1"])
    trained = imgrec.load(run.folder)

Public names are imported at their first use, so that `import imgrec` itself loads neither torch nor hydra.
"""

# Type checkers take it as true by its name. Nothing is imported here: `python -m imgrec` runs this file while the
# working folder is still searched for modules.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from imgrec.errors import Interrupted, RunError, UsageError
    from imgrec.evaluate import load
    from imgrec.frames import load_curves, load_runs
    from imgrec.launch import Outcome, train
    from imgrec.parts import Choice, Parts, choices, compose
    from imgrec.rebuilding import Prediction, Trained
    from imgrec.records import Record, Score
    from imgrec.sweeps.command import sweep

__version__ = "0.1.0"
__all__ = [
    "Choice",
    "Interrupted",
    "Outcome",
    "Parts",
    "Prediction",
    "Record",
    "RunError",
    "Score",
    "Trained",
    "UsageError",
    "__version__",
    "choices",
    "compose",
    "load",
    "load_curves",
    "load_runs",
    "sweep",
    "train",
]

_PLACES = {
    "Trained": "rebuilding",
    "Prediction": "rebuilding",
    "Interrupted": "errors",
    "RunError": "errors",
    "UsageError": "errors",
    "load_curves": "frames",
    "load_runs": "frames",
    "Choice": "parts",
    "Parts": "parts",
    "choices": "parts",
    "compose": "parts",
    "sweep": "sweeps.command",
    "Outcome": "launch",
    "train": "launch",
    "Record": "records",
    "Score": "records",
    "load": "evaluate",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'imgrec' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"imgrec.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

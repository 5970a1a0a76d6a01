"""Turn what ends a command into a line on stderr and an exit code. Heavy imports happen on use."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from imgrec import streams
from imgrec.errors import Interrupted, LostProcess, RunError, UsageError, interruption_in
from imgrec.untrusted_text import folded


def exit_code(command: Callable[[], Any]) -> Any:
    """Call a command, print why it ends if that is an error, and return its exit code.

    Args:
        command: The command.
    """
    try:
        code: Any = _invoke(command)
    except LostProcess as error:
        code = _report_error(f"{error}; {_ahead(error, 'the last checkpoint')}", error, error.exit_code)
    except Interrupted as error:
        code = _report_error(f"interrupted by {error}: {_ahead(error, 'here')}", error, error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        code = _report_error("interrupted", error, 130)
    except UsageError as error:
        code = _report_error(str(error), error, 2)
    except RunError as error:
        code = _report_error(str(error), error, 1)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # `imgrec` without words: its help, unchanged
            print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
            code = 2
        elif hasattr(error, "format_message"):  # click's own errors, of whichever copy typer uses
            code = _report_error(error.format_message(), error, 2)
        else:
            code = _report_error(_unexpected(error), error, 1)
    try:
        sys.stdout.flush()  # flushes what Hydra printed; at exit Python would only report an ignored exception
    except BrokenPipeError:
        streams.discard_stdout()
    except RunError as error:
        code = _report_error(str(error), error, code or 1)
    return code


def _ahead(cut: Interrupted, place: str) -> str:
    """Return what the same command does after an interruption. place: where it goes on from if the run was saved."""
    if not cut.resumable:
        return "nothing is recorded"
    if cut.saved is False:
        return "the same command begins the run again, as it has no checkpoint yet"
    return f"the same command goes on from {place}"


def _unexpected(error: Exception) -> str:
    """Return the sentence for an error that is no refusal; it names the component from outside that raised it."""
    from imgrec.config import outside_errors

    told = outside_errors.explained(error)
    return f"{type(error).__name__}: {error} (IMGREC_DEBUG=1 shows where)" if told is None else str(told)


def _invoke(command: Callable[[], Any]) -> Any:
    """Return what the command returns, or raise its error or interruption."""
    try:
        return command()
    except Exception as error:
        if cut := interruption_in(error):
            raise cut from None
        raise


def _report_error(message: str, error: BaseException, code: int) -> int:
    if os.environ.get("IMGREC_DEBUG") == "1":
        traceback.print_exception(error)
    print("imgrec:", folded(message), file=sys.stderr)
    return code

"""The program `tenure`: its verbs, its exit codes, and the one place where an error becomes a message.

Exit codes: 0 done, 1 tenure's own failure or interrupted, 2 the user's input is wrong, 3 a check said no.
Invariant: with `--json`, stdout holds exactly one JSON document, also where an option is not understood.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tenure.cli.check import check
from tenure.cli.compare import compare
from tenure.cli.demo import demo
from tenure.cli.explain import explain
from tenure.cli.features import features
from tenure.cli.init import init
from tenure.cli.keys import keys
from tenure.cli.models import models
from tenure.cli.output import console, emit_error
from tenure.cli.score import score
from tenure.cli.serve import serve
from tenure.cli.simulate import simulate
from tenure.cli.stream import stream
from tenure.cli.train import train
from tenure.core.errors import ConfigError, StateError, TenureError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="tenure",
    help="From a business's own event log to the customers it is about to lose.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"tenure {version('tenure')}")
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a business's own event log to the customers it is about to lose."""


for verb in (demo, init, check, features, train, compare, score, explain, serve, simulate):
    app.command()(verb)
app.add_typer(models, name="models")
app.add_typer(keys, name="keys")
app.add_typer(stream, name="stream")


def main(arguments: list[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Examples
    --------
    >>> main(["--version"])
    tenure ...
    0
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    ended = _run(arguments)
    if isinstance(ended, int):
        return ended
    if ended.message:
        emit_error(ended, as_json="--json" in arguments)
    return ended.exit_code


def _run(arguments: list[str]) -> TenureError | int:
    """Run a verb; whatever ends it early becomes one of tenure's errors, or the exit code of a verb that has spoken."""
    try:
        ended = app(args=arguments, prog_name="tenure", standalone_mode=False)
        if ended == _INTERRUPTED:
            return TenureError("Interrupted.", hint="Run the same command again.")
    except TenureError as error:
        return error
    except TyperException as error:
        return _not_understood(error)
    except OSError as error:
        return _own_failure(error) if error.filename is None else _unusable(error)
    except Exception as error:  # noqa: BLE001 - the last place where a failure can still be explained
        return _own_failure(error)
    return ended if isinstance(ended, int) else 0


def _not_understood(error: TyperException) -> ConfigError:
    """A verb, option or value that the parser refused; without a message where it has shown the help instead."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tenure"
    message = "" if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()
    hint = f"See `{command} --help`."
    option = getattr(error, "option_name", "")
    if option.startswith("-") and not option.startswith("--"):
        hint += f" What begins with - and is no option stands after --: `{command} -- {option}`."
    return ConfigError(f"{message}{_given(error)}", hint=hint)


def _given(error: TyperException) -> str:
    """The value that was refused, which the parser's own message leaves out."""
    details = getattr(error.__cause__, "errors", None)
    return "".join(f" (given: {detail['input']!r})" for detail in details()[:1]) if details else ""


def _unusable(error: OSError) -> StateError:
    path = error.filename2 or error.filename  # of a rename the final name: people know no temporary ones
    return StateError(
        f"{path} cannot be used: {error.strerror}.",
        hint="Check the path, the permissions and the free space.",
        path=str(path),
    )


def _own_failure(error: Exception) -> TenureError:
    handle, name = tempfile.mkstemp(prefix="tenure-failure-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return TenureError(
        f"tenure itself failed: {type(error).__name__}: {error}",
        hint=f"This is a defect of tenure, not of your input. Please report it with {Path(name)}.",
    )

"""The command line: a file a verb, each of which parses, calls and renders."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback

import typer

from netwright import __version__
from netwright.cli import (
    compare,
    eject,
    examine,
    explain,
    explain_prediction,
    export,
    finetune,
    fit,
    inspect,
    predict,
    resume,
    runs,
    serve,
    test,
    write,
)
from netwright.errors import NetwrightError

app = typer.Typer(
    name="netwright",
    help="Build, train, examine and ship neural networks on PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    fit,
    finetune,
    compare,
    runs,
    test,
    predict,
    write,
    resume,
    eject,
    export,
    serve,
    examine,
    explain,
    explain_prediction,
    inspect,
):
    verb.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"netwright {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
    show_traceback: bool = typer.Option(False, "--traceback", help="Show Python's traceback with an error."),
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code: 0 fine, 1 failed run, 2 misuse, 130 Ctrl-C, 143 SIGTERM."""
    # Wherever it stands: the person adds it to the end of the command that has just failed.
    ours, theirs = _divided(arguments)
    with_traceback = "--traceback" in ours
    arguments = [*(argument for argument in ours if argument != "--traceback"), *theirs]
    if "examine" not in ours:  # an examined script has its signals to itself
        signal.signal(signal.SIGTERM, _end_on_sigterm)
    try:
        code = app(arguments, prog_name="netwright", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except NetwrightError as error:
        if with_traceback:
            traceback.print_exc()
        print(f"netwright: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) has what it wanted; without this Python complains once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None or with_traceback:
            raise
        # A file that the person named and that cannot be read or written, such as --out in a folder that is not there.
        print(f"netwright: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # An error of the command line's own parser: an unknown option, a missing argument.
        context = getattr(error, "ctx", None)
        place = context.command_path if context is not None else "netwright"
        print(f"netwright: {error.format_message()}\nTry '{place} --help'.", file=sys.stderr)
        return 2


def _divided(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns our arguments, and those of the script that `examine` runs."""
    verb = next((index for index, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    if arguments[verb : verb + 1] != ["examine"]:
        return arguments, []
    ours = verb + 1 + examine.own_arguments(arguments[verb + 1 :])
    return arguments[:ours], arguments[ours:]


def _end_on_sigterm(*_: object) -> None:
    raise SystemExit(143)

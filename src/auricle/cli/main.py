"""The command ``auricle``: its sub-commands, and what becomes of errors."""

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Annotated, NoReturn

import typer

from auricle import __version__
from auricle.cli import bench, demo, doctor, jobs, keys, models, serve, transcribe
from auricle.cli.console import is_debugging, say_error
from auricle.cli.exit_codes import FAILED, TERMINATED, describe_exit_codes, exit_code
from auricle.errors import AuricleError

app = typer.Typer(
    name="auricle",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes:\n\n\b\n" + describe_exit_codes(),
)
app.command(name="transcribe")(transcribe.transcribe)
app.command(name="serve")(serve.serve)
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.command(name="doctor")(doctor.doctor)
app.command(name="demo")(demo.demo)
app.command(name="bench")(bench.bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"auricle {__version__}")
        raise typer.Exit


@app.callback()
def _common(  # pyright: ignore[reportUnusedFunction]
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything; show where errors come from.")] = False,
) -> None:
    """Turn speech into text with Whisper: on the command line, or as a server that speaks OpenAI's API.

    \b
    auricle transcribe talk.mp3
    auricle transcribe meeting.mp4 --format srt --output-dir subtitles
    auricle serve --model small --port 8000
    auricle demo
    """
    if debug:
        # The environment, so that engines and servers started from here log everything too.
        os.environ["AURICLE_LOG_LEVEL"] = "debug"


def main() -> None:
    """Run the command line and exit."""
    sys.excepthook = _report_defect
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except BrokenPipeError:
        # Who read our output has gone (`| head`); keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except AuricleError as error:
        _report(error, error.message)
        sys.exit(exit_code(error))
    except OSError as error:
        _report(error, str(error))
        sys.exit(FAILED)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """An exception, as for Ctrl-C, so that engines are ended and temporary files removed on the way out."""
    sys.exit(TERMINATED)


def _report(error: Exception, message: str) -> None:
    if is_debugging():
        sys.__excepthook__(type(error), error, error.__traceback__)
    else:
        say_error(message)


def _report_defect(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if is_debugging():
        sys.__excepthook__(kind, error, traceback)
    else:
        say_error(f"{kind.__name__}: {error} (this is a defect; --debug shows where it happened)")

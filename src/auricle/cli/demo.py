"""``auricle demo``: the real server, the embedded model and the official client, in one command."""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from auricle.cli.console import is_debugging, say, say_error
from auricle.cli.exit_codes import FAILED

_LOG_LINES = 60


def demo(
    timeout_s: Annotated[float, typer.Option(min=0, help="Seconds for the server to start.")] = 120.0,
) -> None:
    """Try everything out, without a download.

    Starts the server with the embedded model, sends it the example files through OpenAI's client, shows what comes
    back, and stops the server.

    \b
    auricle demo
    """
    from auricle.cli.child_server import child_server
    from auricle.errors import AuricleError
    from auricle.store.key import new_secret

    if find_spec("openai") is None:
        say_error("the demo talks to the server through the openai package: pip install 'auricle[demo]'")
        raise typer.Exit(FAILED)
    from openai import OpenAIError

    from auricle.cli.demo_calls import show_all

    with tempfile.TemporaryDirectory(prefix="auricle-demo-") as folder:
        log = Path(folder) / "server.log"
        try:
            # Nothing of an earlier demo: every figure is of real work.
            flags = ["--model", "nano", "--data-dir", folder, "--cache-ttl-s", "0"]
            with child_server(flags, log=log, start_timeout_s=timeout_s, api_key=new_secret()) as server:
                is_right = show_all(server)
        except (AuricleError, OpenAIError) as error:
            if is_debugging():
                raise
            is_right = False
            say_error(str(error))
        if not is_right:
            say("The server's log ends with:")
            for line in log.read_text("utf-8", errors="replace").splitlines()[-_LOG_LINES:]:
                say(f"  {line}")
            raise typer.Exit(FAILED)

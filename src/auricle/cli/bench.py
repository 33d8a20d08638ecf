"""``auricle bench``: how fast a model is on this machine, or a server that runs."""

import asyncio
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auricle.cli.console import say
from auricle.cli.settings_flags import flag_name, takes_settings
from auricle.config import Settings

if TYPE_CHECKING:
    from auricle.cli.bench_calls import Speed

_SETTINGS = (
    *("model", "engine", "device", "device_index", "compute_type", "threads", "max_batch"),
    *("beam_size", "audio_context", "data_dir", "offline"),
)
_START_S = 600.0
"""A model may have to be downloaded first."""


@takes_settings(*_SETTINGS, "api_key", panel="The server that is started")
def bench(
    settings: Settings,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Measure this server instead of starting one.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=4, max=3600, help="About how long to measure.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Measure how fast a model is: one file, short clips, and clips of several clients at once.

    Starts a server of its own and sends it the package's examples, strung together. Results are never taken from a
    cache. Figures are good on a quiet machine only.

    \b
    auricle bench
    auricle bench --model small --threads 4
    auricle bench --server http://127.0.0.1:8000 --seconds 120 --json
    """
    from auricle.cli.bench_calls import measure_speed

    given = settings.model_fields_set
    if server is not None:
        model = settings.model if "model" in given else None
        speed = asyncio.run(
            measure_speed(server, api_key=settings.api_key.get_secret_value(), model=model, seconds=seconds, report=say)
        )
        who = {"server": server, "model": model}
    else:
        speed = _measure_own(settings, seconds)
        who = {"server": None, "model": settings.model}
    if as_json:
        typer.echo(json.dumps(to_json(speed, who), indent=2))
    else:
        typer.echo("\n".join(describe(speed)))


def _measure_own(settings: Settings, seconds: float) -> "Speed":
    from auricle.cli.bench_calls import measure_speed
    from auricle.cli.child_server import child_server
    from auricle.errors import AuricleError, EngineFailed
    from auricle.store.key import new_secret

    with tempfile.TemporaryDirectory(prefix="auricle-bench-") as folder:
        log = Path(folder) / "server.log"
        say(f"starting a server with the model {settings.model}")
        try:
            with child_server(
                server_flags(settings), log=log, start_timeout_s=_START_S, api_key=new_secret()
            ) as server:
                work = measure_speed(server.url, api_key=server.api_key, model=None, seconds=seconds, report=say)
                return asyncio.run(work)
        except AuricleError as error:
            lines = log.read_text("utf-8", errors="replace").splitlines()
            raise EngineFailed(f"{error.message}; the last line of its log: {lines[-1] if lines else ''}") from error


def server_flags(settings: Settings) -> list[str]:
    """Flags of ``auricle serve`` for what was set; the rest it takes from the environment, as this command does."""
    flags: list[str] = []
    for name in _SETTINGS:
        if name in settings.model_fields_set:
            value = getattr(settings, name)
            flags += [_switch(name, on=value)] if isinstance(value, bool) else [flag_name(name), str(value)]
    return flags


def to_json(speed: "Speed", who: dict[str, str | None]) -> dict[str, Any]:
    """Of a run, for machines."""
    return {
        **who,
        "file": asdict(speed.file) | {"rtfx": speed.file.rtfx},
        "clips": [asdict(level) for level in speed.clips],
    }


def describe(speed: "Speed") -> list[str]:
    """The table, for people."""
    file = speed.file
    head = f"{'clients':>8}{'clips':>7}{'median s':>10}{'slowest s':>11}{'RTFx':>8}"
    rows = [
        f"{level.clients:>8}{level.clips:>7}{level.p50_s:>10.2f}{level.slowest_s:>11.2f}{level.rtfx:>8.1f}"
        for level in speed.clips
    ]
    return [
        f"one file of {file.audio_s:.0f} s: {file.elapsed_s:.1f} s, {file.rtfx:.1f} times faster than real time",
        "",
        head,
        *rows,
        "",
        "Clips of 5 s. RTFx: seconds of audio per second, of all clients together.",
    ]


def _switch(name: str, *, on: bool) -> str:
    return flag_name(name) if on else flag_name(name).replace("--", "--no-", 1)

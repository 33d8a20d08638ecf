"""``auricle jobs``: hand work over to a running server, and fetch it later."""

import json
import time
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from auricle.cli.console import say
from auricle.cli.progress import audio_bar, clock
from auricle.cli.settings_flags import takes_settings
from auricle.cli.tables import print_table
from auricle.config import Settings
from auricle.errors import InvalidOption

app = typer.Typer(no_args_is_help=True, help="Submit jobs to a running server; list, show, fetch and cancel them.")

_HERE = "http://127.0.0.1:8000"
_POLL_S = 0.5
_FINAL = {"succeeded", "failed", "cancelled"}
_Server = Annotated[str, typer.Option("--server", metavar="URL", help="Address of the server.")]
_Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
_Job = Annotated[str, typer.Argument(metavar="JOB", help="Its id.", show_default=False)]
_Format = Annotated[
    str,
    typer.Option(
        "--format", help="`text`, `json`, `verbose_json`, `srt`, `vtt`, `tsv` or `diarized_json`.", metavar="FORMAT"
    ),
]


@app.command()
@takes_settings("api_key", "model")
def submit(
    *,
    settings: Settings,
    sources: Annotated[list[str], typer.Argument(metavar="FILE|URL", help="Audio here, or where the server finds it.")],
    server: _Server = _HERE,
    language: Annotated[str | None, typer.Option(help="Language of the audio; detected without it.")] = None,
    translate: Annotated[bool, typer.Option("--translate", help="Write English.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Make word times.")] = False,
    diarize: Annotated[bool, typer.Option("--diarize", help="Tell speakers apart.")] = False,
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Is told when the job ends.")] = None,
    priority: Annotated[str | None, typer.Option(help="`interactive` or `batch`.", metavar="CLASS")] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key makes the same job; for one source.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end and write the transcripts.")] = False,
    format_: _Format = "text",
    as_json: _Json = False,
) -> None:
    """Submit audio as jobs, and print their ids; with --wait, their transcripts in order.

    \b
    auricle jobs submit talk.mp3
    auricle jobs submit https://example.com/talk.mp3 --webhook https://example.com/hook
    auricle jobs submit talk.mp3 --wait --format srt > talk.srt
    """
    if key is not None and len(sources) > 1:
        raise InvalidOption("--idempotency-key is for one source", param="idempotency_key")
    fields = {
        "model": settings.model if "model" in settings.model_fields_set else None,
        "language": language,
        "task": "translate" if translate else None,
        "timestamp_granularities[]": "word" if words else None,
        "diarize": "true" if diarize else None,
        "webhook": webhook,
        "priority": priority,
        "idempotency_key": key,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    jobs = [_submit(server, settings, source, given) for source in sources]
    if wait:
        for job in jobs:
            _write_result(server, settings, _wait(server, settings, job)["id"], format_)
    elif as_json:
        typer.echo(json.dumps(jobs, indent=2))
    else:
        for job in jobs:
            typer.echo(job["id"])


@app.command(name="list")
@takes_settings("api_key")
def list_(
    settings: Settings,
    server: _Server = _HERE,
    status: Annotated[
        str | None, typer.Option(help="`queued`, `running`, `succeeded`, `failed` or `cancelled`.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
    as_json: _Json = False,
) -> None:
    """List the newest jobs of the key.

    \b
    auricle jobs list
    auricle jobs list --status running --server http://gpu:8000
    """
    params = {"limit": limit} | ({} if status is None else {"status": status})
    jobs = cast("list[dict[str, Any]]", _ask(server, settings, "GET", "", params=params)["data"])
    if as_json:
        typer.echo(json.dumps(jobs, indent=2))
    else:
        print_table(("id", "status", "done", "audio", "model", "from", "created"), [_row(job) for job in jobs])


@app.command()
@takes_settings("api_key")
def show(settings: Settings, job: _Job, server: _Server = _HERE) -> None:
    """Print what the server knows of a job, as JSON.

    \b
    auricle jobs show 0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b
    """
    typer.echo(json.dumps(_ask(server, settings, "GET", f"/{job}"), indent=2, ensure_ascii=False))


@app.command()
@takes_settings("api_key")
def result(settings: Settings, job: _Job, server: _Server = _HERE, format_: _Format = "text") -> None:
    """Write the transcript of a job that has ended; fails with the job's own error.

    \b
    auricle jobs result 0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b --format srt > talk.srt
    """
    _write_result(server, settings, job, format_)


@app.command()
@takes_settings("api_key")
def cancel(
    settings: Settings,
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids.", show_default=False)],
    server: _Server = _HERE,
) -> None:
    """Cancel jobs that wait or run; those that have ended stay as they are.

    \b
    auricle jobs cancel 0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b
    """
    from auricle.cli.remote import call_server

    for job_id in jobs:
        job = _ask(server, settings, "GET", f"/{job_id}")
        if job["status"] not in _FINAL:
            # Of a job that has just ended, DELETE /v1/jobs/{id} would forget the result.
            call_server(server, "DELETE", f"/cancel/{job_id}", settings=settings)
            job = _ask(server, settings, "GET", f"/{job_id}")
        say(f"{job_id}: {job['status']}")


def _submit(server: str, settings: Settings, source: str, fields: dict[str, str]) -> dict[str, Any]:
    if "://" in source or source.startswith("data:"):
        parts: dict[str, Any] = {"url": (None, source)}
        return _ask(server, settings, "POST", "", data=fields, files=parts)
    path = Path(source)
    with path.open("rb") as file:
        return _ask(server, settings, "POST", "", data=fields, files={"file": (path.name, file)})


def _wait(server: str, settings: Settings, job: dict[str, Any]) -> dict[str, Any]:
    """The job after its end, with a bar on the way."""
    total_s = job["audio_s"] or 0.0
    with audio_bar(total_s, shown=True) as bar:
        while job["status"] not in _FINAL:
            time.sleep(_POLL_S)
            job = _ask(server, settings, "GET", f"/{job['id']}")
            bar.advance(job["id"], job["progress"] * (job["audio_s"] or total_s))
    return job


def _write_result(server: str, settings: Settings, job_id: str, format_: str) -> None:
    from auricle.cli.remote import call_server

    answer = call_server(
        server, "GET", f"/v1/jobs/{job_id}/result", settings=settings, params={"response_format": format_}
    )
    typer.echo(answer.text.removesuffix("\n"))


def _ask(server: str, settings: Settings, method: str, path: str, **request: Any) -> dict[str, Any]:
    from auricle.cli.remote import call_server, read_json

    return read_json(call_server(server, method, f"/v1/jobs{path}", settings=settings, **request))


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    return (
        job["id"],
        job["status"],
        f"{job['progress']:.0%}",
        clock(job["audio_s"]) if job["audio_s"] else "-",
        job["model"] or "default",
        job["source"]["name"] or job["source"]["url"] or "-",
        job["created_at"][:19],
    )

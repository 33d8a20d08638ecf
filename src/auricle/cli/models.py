"""``auricle models``: what is on disk, downloads, removal; what a running server has in memory."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from auricle.cli import optimize
from auricle.cli.console import say
from auricle.cli.settings_flags import takes_settings
from auricle.cli.tables import print_table
from auricle.config import Settings
from auricle.logs import set_up_logging

app = typer.Typer(
    no_args_is_help=True, help="List, download, optimize and remove models; load and unload those of a server."
)

_Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
_Names = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="`small`, `org/repo`, `org/repo@revision`.", show_default=False)
]
_Server = Annotated[str, typer.Option("--server", metavar="URL", help="Address of the server.")]
_HERE = "http://127.0.0.1:8000"


@app.command(name="list")
@takes_settings("data_dir", "api_key")
def list_(
    settings: Settings,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="List what a running server has, in memory too.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """List the models that have a short name, and all that are on disk.

    Any other repository of Whisper weights on the Hugging Face hub, for CTranslate2 or as safetensors, works as
    `org/repo`, and so does a local folder.

    \b
    auricle models list
    auricle models list --json
    auricle models list --server http://127.0.0.1:8000
    """
    if server is not None:
        _list_remote(server, settings, as_json=as_json)
        return
    from auricle.engines.optimized import find_optimized
    from auricle.engines.weights import ALIASES, list_models

    present = {model.name: model for model in list_models(settings.data_dir)}
    by_source = {(model.source, model.revision): model for model in present.values()}
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*present, *ALIASES]):
        target = ALIASES.get(name)
        found = present.get(name) or (by_source.get((target.repo, target.revision)) if target else None)
        optimized = find_optimized(found.path, settings.data_dir) if found else None
        rows.append(
            {
                "name": name,
                "downloaded": found is not None,
                "size_bytes": found.size_bytes if found else None,
                "source": found.source if found else target.repo if target else None,
                "revision": found.revision if found else target.revision if target else None,
                "folder": str(found.path) if found else None,
                "optimized": asdict(optimized.about) if optimized else None,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        headings = ("name", "on disk", "optimized", "from", "revision", "folder")
        print_table(headings, [_describe_file(row) for row in rows])
        typer.echo("\nnano is for trying out and for tests; it is part of the package.")


@app.command()
@takes_settings("data_dir", "offline")
def pull(settings: Settings, models: _Names, as_json: _Json = False) -> None:
    """Download models, so that later commands need no network.

    \b
    auricle models pull small
    auricle models pull openai/whisper-small
    auricle models pull large-v3-turbo --data-dir /srv/auricle
    """
    from auricle.cli.fetch_model import fetch_model

    set_up_logging("warning")
    pulled = [fetch_model(name, settings, update=True) for name in models]
    if as_json:
        rows = [asdict(model) | {"path": str(model.path)} for model in pulled]
        typer.echo(json.dumps(rows, indent=2))
        return
    for model in pulled:
        say(f"{model.name}: {megabytes(model.size_bytes)} in {model.path}")


@app.command()
@takes_settings("data_dir")
def remove(settings: Settings, models: _Names) -> None:
    """Delete downloaded models.

    \b
    auricle models remove small
    """
    from auricle.engines.weights import remove_model

    for name in models:
        freed = remove_model(name, data_dir=settings.data_dir)
        say(f"{name}: removed, {megabytes(freed)} freed")


@app.command()
@takes_settings("api_key")
def load(settings: Settings, models: _Names, server: _Server = _HERE) -> None:
    """Load models into a running server, and wait until they can be used.

    \b
    auricle models load small
    auricle models load small --server http://127.0.0.1:9000
    """
    from auricle.cli.remote_models import ask_server, model_path

    for name in models:
        model = ask_server(server, "POST", f"{model_path(name)}/load", settings=settings)
        say(f"{name}: loaded, {megabytes(model['memory_bytes'])} of memory")


@app.command()
@takes_settings("api_key")
def unload(
    settings: Settings,
    models: _Names,
    server: _Server = _HERE,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for running requests; they fail.")] = False,
) -> None:
    """Unload models from a running server when the requests that use them are done; all of their memory comes back.

    \b
    auricle models unload small
    """
    from auricle.cli.remote_models import ask_server, model_path

    for name in models:
        ask_server(server, "POST", f"{model_path(name)}/unload", settings=settings, force=str(force).lower())
        say(f"{name}: not in memory")


app.command(name="optimize")(optimize.optimize)


def megabytes(size: int) -> str:
    """Decimal, as the hub counts."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _list_remote(server: str, settings: Settings, *, as_json: bool) -> None:
    from auricle.cli.remote_models import describe_state, list_remote

    models = list_remote(server, settings=settings)
    if as_json:
        typer.echo(json.dumps(models, indent=2))
        return
    print_table(
        ("name", "state", "memory", "requests", "default"),
        [
            (
                model["id"],
                describe_state(model),
                megabytes(model["memory_bytes"]) if model["memory_bytes"] else "-",
                str(model["requests"]),
                "yes" if model["is_default"] else "",
            )
            for model in models
        ],
    )


def _describe_file(row: dict[str, Any]) -> tuple[str, ...]:
    size = megabytes(row["size_bytes"]) if row["downloaded"] else "-"
    optimized = row["optimized"]["compute_type"] if row["optimized"] else "-"
    return row["name"], size, optimized, row["source"], (row["revision"] or "-")[:12], row["folder"] or "-"

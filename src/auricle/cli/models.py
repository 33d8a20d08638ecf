"""``auricle models``: what is on disk, downloads, removal."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from auricle.cli.console import say, set_up_logging
from auricle.cli.settings_flags import takes_settings
from auricle.config import Settings

app = typer.Typer(no_args_is_help=True, help="List, download and remove models.")

_Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
_Names = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="`small`, `org/repo`, `org/repo@revision`.", show_default=False)
]


@app.command(name="list")
@takes_settings("data_dir")
def list_(settings: Settings, as_json: _Json = False) -> None:
    """List the models that have a short name, and all that are on disk.

    Any other repository of CTranslate2 Whisper weights on the Hugging Face hub works as `org/repo`, and so does a
    local folder.

    \b
    auricle models list
    auricle models list --json
    """
    from auricle.engines.weights import ALIASES, list_models

    present = {model.name: model for model in list_models(settings.data_dir)}
    by_source = {(model.source, model.revision): model for model in present.values()}
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys([*present, *ALIASES]):
        target = ALIASES.get(name)
        found = present.get(name) or (by_source.get((target.repo, target.revision)) if target else None)
        rows.append(
            {
                "name": name,
                "downloaded": found is not None,
                "size_bytes": found.size_bytes if found else None,
                "source": found.source if found else target.repo if target else None,
                "revision": found.revision if found else target.revision if target else None,
                "folder": str(found.path) if found else None,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)


@app.command()
@takes_settings("data_dir", "offline")
def pull(settings: Settings, models: _Names, as_json: _Json = False) -> None:
    """Download models, so that later commands need no network.

    \b
    auricle models pull small
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


def megabytes(size: int) -> str:
    """Decimal, as the hub counts."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.2f} GB"


def _print_table(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "on disk", "from", "revision", "folder"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        size = row["size_bytes"]
        table.add_row(
            str(row["name"]),
            megabytes(size) if isinstance(size, int) else "-",
            str(row["source"]),
            str(row["revision"] or "-")[:12],
            str(row["folder"] or "-"),
        )
    console = Console(highlight=False)
    # Whole lines where a program reads them.
    console = console if console.is_terminal else Console(highlight=False, width=1000)
    console.print(table, soft_wrap=not console.is_terminal)
    console.print(Text("\nnano is for trying out and for tests; it is part of the package."))

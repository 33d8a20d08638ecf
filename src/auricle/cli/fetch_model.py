"""Download a model with a bar on standard error."""

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from auricle.cli.console import say, stderr
from auricle.config import Settings
from auricle.engines.weights import ModelFiles, find_model, pull_model, resolve_model


def fetch_model(name: str, settings: Settings, *, update: bool = False) -> ModelFiles:
    """The model called ``name``, downloaded where it is not there; ``update`` also asks whether a branch has moved on.

    Raises ModelNotFound.
    """
    if settings.offline:
        return resolve_model(name, data_dir=settings.data_dir, offline=True, allow_local=True)
    if not update and (found := find_model(name, data_dir=settings.data_dir, allow_local=True)):
        return found
    if not stderr().is_terminal:
        say(f"downloading model {name}")
    columns = TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=stderr(), transient=True, disable=not stderr().is_terminal) as progress:
        bar = progress.add_task(name, total=None)

        def report(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        return pull_model(name, data_dir=settings.data_dir, progress=report)

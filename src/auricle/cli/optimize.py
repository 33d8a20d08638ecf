"""``auricle models optimize``: quantize a model's encoder beforehand for the OpenVINO engine."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.console import say, stderr
from auricle.cli.settings_flags import takes_settings
from auricle.config import Settings
from auricle.errors import EmptyAudio, EngineNotInstalled, InvalidOption
from auricle.logs import set_up_logging

if TYPE_CHECKING:
    from auricle.engines.openvino_optimize import Report


@takes_settings("data_dir", "offline", "compute_type", "threads")
def optimize(
    settings: Settings,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="`small`, `org/repo`, a folder with a model.", show_default=False)
    ],
    audio: Annotated[
        list[Path] | None,
        typer.Option(
            "--audio",
            metavar="FILE|DIR",
            help="Recordings to calibrate with; give it several times for more. Without it, the package's examples.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Go back to the encoder as it is.")] = False,
) -> None:
    """Make the encoder of the OpenVINO engine faster: quantize it beforehand, with recordings.

    By default the engine rounds to 8 bits on the fly, for which it has to look at all numbers first. Here the ranges of
    these numbers are found once, with recordings; a few minutes of your own, of the voices, languages and microphones
    that the model will hear, are better than the package's short examples. Then the error and the time of a window are
    measured, on other windows, next to those of the encoder as it is. What is not faster, or less exact, is not kept.

    Takes a minute for base, longer for larger models, and needs `pip install 'auricle[optimize]'`; the server does
    not need it. A running server goes on as it was until it is started again.

    \b
    auricle models optimize base
    auricle models optimize small --audio calls/ --audio meeting.mp3
    auricle models optimize small --remove
    """
    from auricle.cli.fetch_model import fetch_model
    from auricle.engines.optimized import remove_optimized, summarise

    set_up_logging("warning")
    if remove:
        from auricle.engines.weights import resolve_model

        found = resolve_model(model, data_dir=settings.data_dir, offline=True, allow_local=True)
        freed = remove_optimized(found.path, settings.data_dir)
        say(f"{model}: the encoder is as it was, {freed / 1e6:.1f} MB freed" if freed else f"{model}: not optimized")
        return
    try:
        from auricle.cli.calibration_audio import make_windows, read_windows
        from auricle.engines.openvino_optimize import optimize_encoder
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "auricle":
            raise
        raise EngineNotInstalled(
            f"OpenVINO cannot be imported ({error}); install it with: pip install 'auricle[optimize]'"
        ) from error
    from auricle.pipeline.library import ModelFolder
    from auricle.runtime import engine_config

    recorded = read_windows(_files(audio))
    if not recorded:
        raise EmptyAudio(f"there is no audio in {', '.join(map(str, audio or []))}")
    found = fetch_model(model, settings)
    folder = ModelFolder(name=found.name, path=found.path, size_bytes=found.size_bytes)
    with _bar() as report:
        try:
            made = optimize_encoder(
                engine_config(settings, folder),
                lambda n_mels: make_windows(recorded, n_mels),
                data_dir=settings.data_dir,
                report=report,
            )
        except OSError as error:
            raise InvalidOption(f"the encoder cannot be written: {error}", param="data_dir") from error
    say(f"{model}: {summarise(made.about)}")
    say(f"wrote {made.folder}")


def _files(audio: Sequence[Path] | None) -> list[Path]:
    """The recordings that were named; the package's examples where there are none."""
    from auricle.cli.backends import audio_seconds
    from auricle.cli.samples import list_samples
    from auricle.cli.sources import collect_sources

    if not audio:
        return [sample.path for sample in list_samples()]
    sources, _ = collect_sources(audio, recursive=True, is_media=lambda path: audio_seconds(path) is not None)
    return [source.path for source in sources]


@contextmanager
def _bar() -> "Generator[Report]":
    """What is being done, with a bar; it vanishes at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=stderr(), transient=True, disable=not stderr().is_terminal) as progress:
        bar = progress.add_task("", total=None)
        yield lambda what, done, total: progress.update(bar, description=what, completed=done, total=total)

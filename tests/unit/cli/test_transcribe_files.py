import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.cli.progress import audio_bar, clock
from auricle.cli.sources import Source
from auricle.cli.transcribe_files import Backend, transcribe_files
from auricle.errors import CorruptAudio, ModelNotFound
from auricle.types import Transcript

FAULTS = {"corrupt": CorruptAudio("it breaks off"), "model": ModelNotFound("no model"), "disk": OSError("disk full")}


async def work(*names: str, at_once: int = 4) -> tuple[int, list[str], int]:
    """Exit code, files delivered, most files in progress."""
    delivered: list[str] = []
    running, most = 0, 0

    async def transcribe(source: Source, on_progress: Callable[[float], None]) -> Transcript:
        nonlocal running, most
        running += 1
        most = max(most, running)
        on_progress(0.5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running -= 1
        if fault := FAULTS.get(str(source.name)):
            raise fault
        return Transcript(text="", segments=(), language="en", duration=1.0, warnings=("take care",))

    def deliver(source: Source, transcript: Transcript) -> str:
        delivered.append(str(source.name))
        return " -> there"

    with audio_bar(0, shown=False) as bar:
        code = await transcribe_files(
            Backend(model="m", transcribe=transcribe),
            [Source(Path(name), Path(name)) for name in names],
            deliver,
            bar=bar,
            at_once=at_once,
            quiet=False,
        )
    return code, delivered, most


async def test_all_files_are_delivered():
    assert await work("a", "b") == (0, ["a", "b"], 2)


async def test_no_more_files_than_allowed_are_in_progress():
    _, delivered, most = await work(*"abcdefgh", at_once=3)
    assert (len(delivered), most) == (8, 3)


@pytest.mark.parametrize(
    ("files", "code"),
    [(["a", "corrupt", "model", "b"], 3), (["a", "model", "corrupt", "b"], 4), (["disk", "a", "corrupt", "b"], 1)],
)
async def test_the_first_failure_gives_the_code_and_stops_no_other_file(files: list[str], code: int):
    got, delivered, _ = await work(*files)
    assert got == code
    assert delivered == ["a", "b"]


async def test_errors_warnings_and_speed_are_told(capsys: pytest.CaptureFixture[str]):
    await work("a", "corrupt")
    told = capsys.readouterr().err.splitlines()
    assert "error: corrupt: it breaks off" in told
    assert "warning: a: take care" in told
    assert any(line.startswith("a: 1.0 s in ") and line.endswith("x), en, m -> there") for line in told)
    assert any(line.startswith("1 of 2 files: 1.0 s in ") for line in told)


def test_a_clock_has_hours_only_where_they_are_needed():
    assert [clock(0), clock(59.6), clock(3723)] == ["0:00", "1:00", "1:02:03"]

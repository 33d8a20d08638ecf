"""A process that runs the jobs of a folder, to be killed: tells on standard output how far it has come.

``python job_process.py FOLDER DATABASE_URL [AUDIO COUNT [OPTIONS]]`` submits the audio so often first, and ends when no
job is left to run. Each line is the number of rows decoded so far and of jobs that have ended.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from auricle.config import Settings
from auricle.errors import Busy
from auricle.job_types import JobSource, NewJob, WebhookTarget
from auricle.runtime import Runtime, open_runtime
from auricle.speaker_types import Diarization
from auricle.types import TranscribeOptions, VadOptions

PLAIN = TranscribeOptions(language="en", beam_size=1, vad_options=VadOptions(max_clip_s=6.0))
OPTIONS = {"plain": PLAIN, "speakers": replace(PLAIN, diarization=Diarization())}


def settings(folder: Path, url: str) -> Settings:
    return Settings(
        data_dir=folder,
        database_url=url,  # pyright: ignore[reportArgumentType]
        model="nano",
        engine="ct2",
        offline=True,
        threads=1,
        cache_ttl_s=0,
        max_running_jobs=3,
        max_windows_in_flight=4,
    )


async def submit(runtime: Runtime, audio: Path, count: int, options: TranscribeOptions) -> None:
    for number in range(count):
        new = NewJob(
            source=JobSource(kind="file", name=audio.name, path=str(audio)),
            options=options,
            webhook=WebhookTarget(url="https://localhost/never"),
            idempotency_key=f"job-{number}",
        )
        await runtime.jobs.submit(new, owner="ann")


async def main(folder: Path, url: str, *rest: str) -> None:
    runtime = open_runtime(settings(folder, url))
    if rest:
        audio, count, options = (*rest, "plain")[:3]
        await submit(runtime, Path(audio), int(count), OPTIONS[options])
    runtime.start()
    try:
        while True:
            await asyncio.sleep(0.02)
            try:
                page = await runtime.jobs.list(owner=None, status=("queued", "running"), limit=1000)
                ended = await runtime.jobs.list(owner=None, status=("succeeded", "failed", "cancelled"), limit=1000)
            except Busy:
                continue  # the database is away
            rows = runtime.metrics.registry.get_sample_value("auricle_windows_total")
            print(int(rows or 0), len(ended.jobs), flush=True)  # noqa: T201
            if not page.jobs:
                return
    finally:
        await runtime.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))

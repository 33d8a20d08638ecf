"""Jobs of RunPod's queue to answers; the model is loaded when the first one comes."""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from auricle.audio.fetch import MIB, BoundedFile, prepare_folder
from auricle.cli.settings_flags import load_settings
from auricle.config import Settings
from auricle.engines.devices import cuda_memory_bytes
from auricle.errors import AudioTooLarge, AuricleError, InputError, InvalidOption
from auricle.formats.options import FormatOptions
from auricle.formats.registry import render
from auricle.net.addresses import Allowlist
from auricle.net.fetch import fetch_url
from auricle.runtime import Runtime, open_runtime
from auricle.types import RequestInfo, Transcript
from job_input import JobInput, TextFormat, parse_input

_log = logging.getLogger("auricle.runpod")
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)

_GIB = 1 << 30
_WEIGHTS_GIB = 3.0
_ROW_GIB = 0.5


def worker_settings() -> Settings:
    """The settings of the environment, in which ``MODEL_BATCH_SIZE`` is the size of a batch; without it, one that suits
    the GPU."""
    settings = load_settings({"compat_env": ("ultra-fast-whisper-server",)})
    memory = cuda_memory_bytes()
    if settings.max_batch or settings.device == "cpu" or settings.device_index >= len(memory):
        return settings
    return settings.model_copy(update={"max_batch": recommended_batch(memory[settings.device_index])})


def recommended_batch(memory_bytes: int) -> int:
    """Rows of a batch for a GPU: what fits beside the weights of a large model, as a power of two from 8 to 128.

    A row takes about 0.5 GiB with a beam of 5: the keys and values of 448 tokens in 32 layers. Where that is too much
    after all, the scheduler halves the batch.
    """
    rows = (memory_bytes / _GIB - _WEIGHTS_GIB) / _ROW_GIB
    return next((size for size in (128, 64, 32, 16) if size <= rows), 8)


class QueueWorker:
    """Belongs to one event loop, which RunPod's package makes; what it opened is closed when that loop ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._allow = Allowlist.parse(settings.url_allowlist)
        self._uploads = settings.data_dir / "uploads"
        self._max_bytes = int(settings.max_upload_mb * MIB)
        self._runtime: Runtime | None = None
        self._closing: asyncio.Task[None] | None = None

    def concurrency(self, current: int) -> int:
        """How many jobs this worker takes at once; the windows of all of them share batches."""
        del current
        return self._settings.max_running_jobs

    async def answer(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """What a job returns: the text, or ``{"error": …}`` for all that is wrong with it."""
        name = str(job.get("id", "unnamed"))[:80]
        _job_id.set(name)
        began = time.monotonic()
        try:
            asked = parse_input(job.get("input"))
        except InvalidOption as error:
            return _refuse(error, error.message)
        runtime = self._open()
        try:
            fetched = await fetch_url(
                asked.url,
                partial(BoundedFile, self._uploads, max_bytes=self._max_bytes),
                allow=self._allow,
                max_bytes=self._max_bytes,
                timeout_s=self._settings.max_url_s,
            )
        except InputError as error:
            is_told = asked.source == "audio_base64" or isinstance(error, AudioTooLarge)
            message = f"{asked.source}: {error.message}" if is_told else "Failed to download audio file"
            return _refuse(error, message)
        with fetched.file as file:
            try:
                body, audio_s = await self._transcribe(runtime, asked, file.path, name)
            except AuricleError as error:
                return _refuse(error, f"Transcription failed: {error.message}")
        _log.info("done: %.1f s of audio in %.1f s", audio_s, time.monotonic() - began)
        return body

    async def _transcribe(
        self, runtime: Runtime, asked: JobInput, path: Path, name: str
    ) -> tuple[dict[str, Any], float]:
        request = RequestInfo(request_id=name, caller="runpod")
        async with runtime.models.lease(asked.fields.model) as model:
            transcripts = [
                await runtime.transcriber.run(
                    path, asked.options(task, self._settings), model=asked.fields.model, request=request
                )
                for task in asked.tasks
            ]
            body = {"text": transcripts[0].text.strip()}
            if not asked.is_plain:
                body |= _details(asked, transcripts) | {"device": model.info.device, "model": model.name}
        return body, transcripts[0].duration

    def _open(self) -> Runtime:
        if self._runtime is None:
            prepare_folder(self._uploads)
            self._runtime = open_runtime(self._settings)
            self._closing = asyncio.create_task(_close_at_the_end(self._runtime))
        return self._runtime


class JobIdFilter(logging.Filter):
    """Puts the job's id before each line that is written while it runs."""

    def filter(self, record: logging.LogRecord) -> bool:
        job = _job_id.get()
        if job is not None:
            record.msg = f"job {job}: {record.getMessage()}"
            record.args = ()
        return True


async def _close_at_the_end(runtime: Runtime) -> None:
    """The loop cancels what is left when it ends; engines are then ended in order rather than cut off."""
    try:
        await asyncio.Event().wait()
    finally:
        await runtime.close()


def _refuse(error: AuricleError, message: str) -> dict[str, Any]:
    _log.warning("%s: %s", error.code, error.message)
    return {"error": message}


def _details(asked: JobInput, transcripts: list[Transcript]) -> dict[str, Any]:
    """The answer of the public faster-whisper worker."""
    fields = asked.fields
    transcript, *translated = transcripts
    verbose = json.loads(render(transcript, "verbose_json", FormatOptions(words=fields.word_timestamps)).text)
    details: dict[str, Any] = {
        "segments": verbose["segments"],
        "detected_language": transcript.language,
        "transcription": _write(transcript, fields.transcription),
        "translation": _write(translated[0], fields.translation) if translated else None,
    }
    if fields.word_timestamps:
        details["word_timestamps"] = [
            {"word": word["word"], "start": word["start"], "end": word["end"]} for word in verbose["words"]
        ]
    warnings = [*(f"field {name!r} is not known and was ignored" for name in asked.unknown), *transcript.warnings]
    return details | ({"warnings": warnings} if warnings else {})


def _write(transcript: Transcript, form: TextFormat) -> str:
    if form == "plain_text":
        return transcript.text.strip()
    if form == "formatted_text":
        return "\n".join(segment.text.strip() for segment in transcript.segments)
    return render(transcript, form).text

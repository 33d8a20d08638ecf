"""From what a request holds to an accepted job, for every route that makes jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from auricle.audio.decode import probe_audio
from auricle.audio.fetch import MIB, BoundedFile
from auricle.errors import AudioTooLarge, EmptyAudio, InvalidOption
from auricle.job_types import Job, JobSource, NewJob
from auricle.jobs.webhook_target import check_webhook
from auricle.net.addresses import Allowlist
from auricle.net.data_url import parse_data_url
from auricle.net.urls import check_url
from auricle.server.auth import check_model, choose_priority, principal_of, quota_of
from auricle.server.context import Admitted, Context, RequestContext, voices_of
from auricle.server.job_wishes import JobWish, check_idempotency_key, wish_of_form, wish_of_json
from auricle.server.json_body import has_json_body, parse_object, spool_body
from auricle.server.receive import note_audio
from auricle.server.record import record_of
from auricle.server.schemas import AudioForm, parse_form, transcribe_options
from auricle.server.speakers import known_speakers, with_known_speakers
from auricle.server.uploads import MAX_FIELDS_BYTES, AudioSource, Form, read_any_form
from auricle.server.urgency import header_fields
from auricle.types import Priority, Task
from auricle.units import GUESSED_BYTES_PER_S

_MAX_NAME = 255
_MAX_AUDIO_S = 1e7


@dataclass(frozen=True, slots=True, kw_only=True)
class SentJob:
    """A request for one job; its file, where it has one, lies on disk until the request has its answer."""

    wish: JobWish
    source: JobSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that is safe now."""

    job: Job
    is_new: bool
    """False where an earlier request with the same idempotency key has made it."""
    warnings: tuple[str, ...]


async def _receive(request: Request, context: RequestContext, _place: Admitted) -> AsyncIterator[SentJob]:
    async with AsyncExitStack() as stack:
        file: BoundedFile | None = None
        name: str | None = None
        if has_json_body(request.scope):
            file = stack.enter_context(BoundedFile(context.uploads, max_bytes=_max_json_audio(context)))
            wish = await _receive_json(request, context, file)
            file = file if file.size else None
        else:
            form = await stack.enter_async_context(
                read_any_form(
                    request,
                    folder=context.uploads,
                    max_bytes=context.max_upload_bytes,
                    min_bytes_s=context.min_upload_bytes_s,
                )
            )
            wish, file, name = wish_of_form(form.fields), form.file, form.file_name
            if file is None and _is_data(wish.url):
                file = stack.enter_context(BoundedFile(context.uploads, max_bytes=_max_json_audio(context)))
                wish = await asyncio.to_thread(_unpack, wish, file, _max_json_audio(context))
        if wish.audio is not None:
            raise InvalidOption("audio belongs into a JSON body; a form has a part named 'file'.", param="audio")
        if (file is None) == (wish.url is None):
            raise InvalidOption("Send either a file or a url, in JSON either audio or url.", param="file")
        if file is None:
            source = JobSource(kind="url", url=wish.url)
        else:
            note_audio(request, file)
            source = _file_source(file, name)
        yield SentJob(wish=wish, source=source)


Sent = Annotated[SentJob, Depends(_receive)]
"""A form or JSON with one job."""


async def accept_sent(request: Request, context: Context, sent: SentJob) -> Accepted:
    """Accept the job of a whole request; its headers count too."""
    key = check_idempotency_key(request.headers.get("idempotency-key"))
    if key is not None and sent.wish.idempotency_key not in (None, key):
        raise InvalidOption("The header Idempotency-Key and the field idempotency_key differ.", param="idempotency_key")
    wish = sent.wish if key is None else replace(sent.wish, idempotency_key=key)
    return await accept(request, context, wish, sent.source)


async def accept(
    request: Request, context: Context, wish: JobWish, source: JobSource, *, priority: Priority = Priority.BATCH
) -> Accepted:
    """Check what is wished for and accept it as a job, durably; ``priority`` is that of a wish that names none.

    Raises InvalidOption, ForbiddenUrl for an address that must not be fetched or told, ModelNotFound, RateLimited,
    AudioTooLong for the key's limits, QueueFull, IdempotencyConflict, and what is wrong with a file at first sight.
    """
    settings, runtime, caller, record = context.settings, context.runtime, principal_of(request), record_of(request)
    form, unknown = parse_form((*wish.fields, *header_fields(request.headers)))
    record.model = form.model
    _check_form(form)
    check_model(caller, runtime.models, form.model)
    await runtime.models.check(form.model)
    allow = Allowlist.parse(settings.url_allowlist)
    if source.url is not None:
        check_url(source.url, allow)
    asked = Priority[form.priority.upper()] if form.priority else priority
    new = NewJob(
        source=source,
        options=await with_known_speakers(
            transcribe_options(form, wish.task, settings, for_job=True),
            known_speakers(form),
            voices_of(request, context),
        ),
        model=form.model,
        priority=choose_priority(caller, asked, default=priority, allow_realtime=settings.allow_realtime),
        webhook=None if wish.webhook is None else check_webhook(wish.webhook, allow),
        metadata=wish.metadata,
        idempotency_key=wish.idempotency_key,
        audio_s=await _charge(request, context, source),
    )
    counted_s, record.audio_s = record.audio_s, 0.0  # nothing is used where the job is not accepted, or not new
    job, is_new = await runtime.jobs.submit(new, owner=caller.owner)
    if is_new:
        record.audio_s = counted_s
    warnings = tuple(f"field {name[:40]!r} is not known and was ignored" for name in unknown)
    return Accepted(job=job, is_new=is_new, warnings=warnings)


async def accept_upload(request: Request, context: Context, upload: Form, task: Task) -> Accepted:
    """A job of a request that would have been answered with the transcript; its form has no fields of jobs."""
    wish = JobWish(
        fields=upload.fields,
        task=task,
        idempotency_key=check_idempotency_key(request.headers.get("idempotency-key")),
    )
    return await accept(request, context, wish, _file_source(upload, upload.file_name))


async def _charge(request: Request, context: Context, source: JobSource) -> float | None:
    """Take an upload's length from what the key may use; returns what the file says of it."""
    record = record_of(request)
    if source.path is None:
        record.audio_s = 0.0
        return None
    told_s = await asyncio.to_thread(_probe, Path(source.path))
    guess_s = (source.size or 0) / GUESSED_BYTES_PER_S
    quota_of(request).take_audio(
        min(guess_s if told_s is None else told_s, context.settings.max_audio_s), is_guess=told_s is None
    )
    record.audio_s = told_s
    return told_s


def _file_source(file: AudioSource, name: str | None) -> JobSource:
    name = None if name is None else name[:_MAX_NAME]
    return JobSource(kind="file", name=name, path=str(file.path), size=file.size, sha256=file.sha256)


def _probe(path: Path) -> float | None:
    """Seconds by what the file says, None where it says nothing that can be. Raises what is wrong with the file."""
    told_s = probe_audio(path).duration_s
    return told_s if told_s is not None and 0 < told_s < _MAX_AUDIO_S else None


def _check_form(form: AudioForm) -> None:
    if form.stream:
        raise InvalidOption("stream: a job is followed at GET /v1/jobs/{id}/events.", param="stream")
    if form.deadline_s is not None:
        raise InvalidOption("deadline_s: a job has no deadline; cancel it when it is of no use.", param="deadline_s")


def _max_json_audio(context: Context) -> int:
    return min(int(context.settings.max_json_audio_mb * MIB), context.max_upload_bytes)


async def _receive_json(request: Request, context: Context, file: BoundedFile) -> JobWish:
    """The wish, with the audio of the body in ``file`` and not in the wish."""
    # Base64 is a third longer than what it holds; a line break here and there is allowed.
    max_bytes = _max_json_audio(context)
    max_body = max_bytes * 7 // 5 + MAX_FIELDS_BYTES
    try:
        async with (
            spool_body(
                request, folder=context.uploads, max_bytes=max_body, min_bytes_s=context.min_upload_bytes_s
            ) as body,
            context.json_turns,
        ):
            return await asyncio.to_thread(_read_wish, body, file, max_bytes)
    except AudioTooLarge as exc:
        raise AudioTooLarge(
            f"Audio in JSON may have {context.settings.max_json_audio_mb:g} MiB (AURICLE_MAX_JSON_AUDIO_MB); send "
            "larger files in a form, or by their URL.",
            param="audio",
        ) from exc


def _read_wish(body: Path, file: BoundedFile, max_bytes: int) -> JobWish:
    return _unpack(wish_of_json(parse_object(body.read_bytes())), file, max_bytes)


def _unpack(wish: JobWish, file: BoundedFile, max_bytes: int) -> JobWish:
    """The wish without the bytes that it holds, which go to ``file``. Blocks."""
    if wish.audio is not None and wish.url is not None:
        raise InvalidOption("Send either audio or url, not both.", param="audio")
    data, param = (wish.audio, "audio") if wish.audio is not None else (wish.url, "url")
    if data is None or (param == "url" and not _is_data(data)):
        return wish
    url = data if _is_data(data) else f"data:;base64,{data}"
    try:
        _, content = parse_data_url(url, max_bytes=max_bytes)
    except InvalidOption as exc:
        raise InvalidOption(f"{param}: this is neither base64 nor a data: URL that can be read.", param=param) from exc
    if not content:
        raise EmptyAudio("The audio is empty.", param=param)
    file.write(content)
    file.finish()
    return replace(wish, audio=None, url=None)


def _is_data(url: str | None) -> bool:
    return url is not None and url[:5].lower() == "data:"

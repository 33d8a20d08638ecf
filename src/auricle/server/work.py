"""The one way from audio on disk to a transcript, for every route that answers with one."""

import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import Request

from auricle.config import Settings
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint
from auricle.server.admission import Place
from auricle.server.auth import check_model, principal_of
from auricle.server.context import Context, voices_of
from auricle.server.record import RequestRecord, record_of
from auricle.server.reuse import reuse_of
from auricle.server.schemas import AudioForm, PriorityName, parse_form, transcribe_options
from auricle.server.speakers import Known, known_speakers, with_known_speakers
from auricle.server.uploads import AudioSource
from auricle.server.urgency import header_fields, request_info
from auricle.server.waiting import before, unless_client_leaves
from auricle.types import ClipDone, Task, TranscribeOptions, Transcript

_MAX_WARNINGS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a request asks of the pipeline."""

    options: TranscribeOptions
    model: str | None = None
    priority: PriorityName | None = None
    deadline_s: float | None = None
    """Seconds from the request's arrival."""
    known: Known = ()
    """Voices that have a name, still to be read."""


def read_order(
    request: Request, settings: Settings, fields: Iterable[tuple[str, str]], task: Task
) -> tuple[AudioForm, Order, list[str]]:
    """The checked form, what it orders, and warnings about what is not known in it.

    ``fields`` are those of OpenAI's form with our additions, and the request's headers count too. Raises InvalidOption
    that names the field, UnsupportedOption for what the settings do not allow.
    """
    form, unknown = parse_form((*fields, *header_fields(request.headers)))
    record_of(request).model = form.model
    order = Order(
        options=transcribe_options(form, task, settings),
        model=form.model,
        priority=form.priority,
        deadline_s=form.deadline_s,
        known=known_speakers(form),
    )
    return form, order, [f"field {name[:40]!r} is not known and was ignored" for name in unknown]


async def run_order(request: Request, context: Context, place: Place, audio: AudioSource, order: Order) -> Transcript:
    """The transcript; the work ends early where the client leaves or the time is over.

    The body must have been read. Raises what the pipeline raises, DeadlineExceeded, and starlette's ClientDisconnect.
    """
    check_model(principal_of(request), context.runtime.models, order.model)
    options = await with_known_speakers(order.options, order.known, voices_of(request, context))
    info = await request_info(request, context.settings, audio, order, place)
    run = context.runtime.transcriber.run(
        audio.path, options, model=order.model, request=info, reuse=reuse_of(request, audio)
    )
    transcript = await unless_client_leaves(request.receive, before(info.deadline, run))
    record_of(request).finish(transcript)
    return transcript


async def stream_order(
    request: Request,
    context: Context,
    place: Place,
    audio: AudioSource,
    order: Order,
    *,
    checkpoint: Checkpoint | None = None,
) -> AsyncGenerator[ClipDone | Transcript, None]:
    """The parts in file order, the whole Transcript last; whoever sends them closes them when the client leaves.

    They raise what ``run_order`` raises; what is wrong with the order is raised here. A run with a ``checkpoint`` is
    the request's own: nothing is taken from other requests, nor given to them.
    """
    check_model(principal_of(request), context.runtime.models, order.model)
    options = await with_known_speakers(order.options, order.known, voices_of(request, context))
    info = await request_info(request, context.settings, audio, order, place)
    parts = context.runtime.transcriber.stream(
        audio.path,
        options,
        model=order.model,
        request=info,
        reuse=reuse_of(request, audio) if checkpoint is None else None,
        checkpoint=checkpoint or FROM_THE_START,
    )
    return _timed(parts, info.deadline, record_of(request))


def warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """As JSON, which is ASCII on one line whatever the warnings hold."""
    return {"x-auricle-warnings": json.dumps(warnings[:_MAX_WARNINGS])} if warnings else {}


async def _timed(
    parts: AsyncGenerator[ClipDone | Transcript, None], deadline: float | None, record: RequestRecord
) -> AsyncGenerator[ClipDone | Transcript, None]:
    async with aclosing(parts):
        while not isinstance(part := await before(deadline, anext(parts)), Transcript):
            yield part
        record.finish(part)
        yield part

"""``/v1/jobs``: work that is accepted now and done later, whatever happens to client and server meanwhile."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from auricle.errors import JobNotFinished, JobNotFound, NotFound
from auricle.formats.registry import render
from auricle.job_types import Job, JobStatus
from auricle.server.auth import Caller
from auricle.server.context import Context, RequestContext
from auricle.server.job_orders import Accepted, Sent, accept_sent
from auricle.server.job_results import RESULT_PARAMETERS, check_details, result_format
from auricle.server.job_schemas import (
    DeliveryList,
    DeliveryObject,
    JobDeleted,
    JobList,
    JobObject,
    delivery_object,
    job_object,
)
from auricle.server.job_wishes import job_properties
from auricle.server.schemas import TEXT_SCHEMA, format_options
from auricle.server.sse import stream_events
from auricle.server.urgency import HEADER_PARAMETERS
from auricle.server.work import warning_header

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MIN_WAIT_S, _MAX_WAIT_S, _UNKNOWN_WAIT_S = 1.0, 120.0, 5.0


def is_job_id(text: str) -> bool:
    """Whether it can be one; what cannot is not looked for."""
    return _ID.fullmatch(text) is not None


def _job_id(job_id: str) -> str:
    if not is_job_id(job_id):
        raise JobNotFound(f"There is no job {job_id[:64]!r}.")
    return job_id


JobId = Annotated[str, Depends(_job_id)]

_EXAMPLE: dict[str, Any] = {
    "id": "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
    "object": "job",
    "status": "running",
    "progress": 0.25,
    "position": 0,
    "eta_s": 41.5,
    "task": "transcribe",
    "model": "small",
    "language": None,
    "priority": "batch",
    "source": {"kind": "url", "name": None, "url": "https://example.com/talk.mp3", "size": 48_201_113},
    "audio_s": 3012.4,
    "webhook": {"url": "https://example.com/hooks/auricle", "is_signed": True},
    "metadata": {"episode": 12},
    "idempotency_key": "episode-12",
    "attempts": 1,
    "created_at": "2026-11-20T12:00:00Z",
    "started_at": "2026-11-20T12:00:01Z",
    "ended_at": None,
    "expires_at": None,
    "error": None,
    "error_code": None,
}
_BY_URL = {"url": "https://example.com/talk.mp3", "model": "small", "webhook": {"url": "https://example.com/hook"}}
_FILE = {"type": "string", "format": "binary", "description": "Audio or video, in any format FFmpeg reads."}
_AUDIO = {"type": "string", "description": "The file in base64, or as a `data:` URL."}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": _FILE} | job_properties(in_json=False)}
        },
        "application/json": {
            "schema": {"type": "object", "properties": {"audio": _AUDIO} | job_properties(in_json=True)},
            "example": _BY_URL,
        },
    },
}
_KEY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same key makes one job, however often it is sent.",
    "schema": {"type": "string", "maxLength": 255},
}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "The job is safe; `Location` leads to it. `Idempotent-Replayed: true` where an earlier request "
        "with the same key has made it.",
        "model": JobObject,
        "content": {"application/json": {"example": _EXAMPLE}},
    },
}


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    responses=ACCEPTED,
    openapi_extra={"requestBody": _BODY, "parameters": [_KEY_PARAMETER, *HEADER_PARAMETERS[:1]]},
)
async def submit_job(request: Request, response: Response, context: RequestContext, sent: Sent) -> JobObject:
    """Takes a file or a `url`. The answer comes when the job is on disk; what is wrong with the request is told at
    once, what is wrong with the file behind a URL is told by the job."""
    accepted = await accept_sent(request, context, sent)
    response.headers.update(accepted_headers(accepted))
    return await show(context, accepted.job)


@router.get("", summary="List jobs")
async def list_jobs(
    *,
    context: RequestContext,
    caller: Caller,
    status: Annotated[list[JobStatus] | None, Query(description="One or more.")] = None,
    model: Annotated[
        str | None, Query(max_length=256, pattern=r"^[^\x00]*$", description="As it was asked for.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[
        str | None, Query(max_length=36, pattern=r"^[0-9a-f-]+$", description="`last_id` of the page before.")
    ] = None,
) -> JobList:
    """Jobs of the key that asks, the newest first."""
    page = await context.runtime.jobs.list(owner=caller.owner, status=status, model=model, limit=limit, after=after)
    return JobList(
        data=[job_object(job) for job in page.jobs],
        has_more=page.after is not None,
        last_id=page.jobs[-1].id if page.jobs else None,
    )


@router.get(
    "/{job_id}",
    summary="Look at a job",
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
async def get_job(job_id: JobId, context: RequestContext, caller: Caller) -> JobObject:
    """What is known of a job, with its place in the queue and the time that it still takes."""
    return await show(context, await context.runtime.jobs.get(job_id, owner=caller.owner))


@router.get(
    "/{job_id}/result",
    summary="Fetch a job's transcript",
    response_class=Response,
    openapi_extra={"parameters": RESULT_PARAMETERS},
    responses={
        200: {
            "description": "The transcript in the format asked for.",
            "content": {
                "application/json": {"schema": TEXT_SCHEMA, "example": {"text": "Turn left at the hospital."}},
                "text/plain": {"example": "Turn left at the hospital.\n"},
                "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:01,600\nTurn left.\n"},
                "text/vtt": {},
                "text/tab-separated-values": {},
            },
        },
        409: {"description": "It has none yet, or was cancelled; `Retry-After` says when to ask again."},
    },
)
async def get_result(job_id: JobId, request: Request, context: RequestContext, caller: Caller) -> Response:
    """In any format, as often as wanted until the job is forgotten. A job that failed answers with its error."""
    jobs = context.runtime.jobs
    form = result_format(request.query_params.multi_items())
    try:
        transcript = await jobs.result(job_id, owner=caller.owner)
    except JobNotFinished as exc:
        eta_s = await jobs.eta_s(await jobs.get(job_id, owner=caller.owner))
        wait_s = _UNKNOWN_WAIT_S if eta_s is None else min(max(eta_s, _MIN_WAIT_S), _MAX_WAIT_S)
        raise JobNotFinished(exc.message, retry_after_s=wait_s) from exc
    shape = format_options(form)
    check_details(transcript, form.response_format, shape)
    body = render(transcript, form.response_format, shape)
    return Response(body.text, media_type=body.media_type, headers=warning_header(transcript.warnings))


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=Response,
    responses={
        200: {
            "description": "The job now and after each change, until it has ended.",
            "content": {"text/event-stream": {"example": 'data: {"object": "job", …}\n\ndata: [DONE]\n\n'}},
        }
    },
)
async def follow_job(job_id: JobId, request: Request, context: RequestContext, caller: Caller) -> Response:
    """Server-sent events with the job as their data, the last one with its end; comments keep the line open."""
    events = _events(context, job_id, caller.owner)
    return await stream_events(request, events, keepalive_s=context.settings.sse_keepalive_s, headers={})


@router.delete("/{job_id}", summary="Cancel or delete a job")
async def delete_job(job_id: JobId, context: RequestContext, caller: Caller) -> JobObject | JobDeleted:
    """Cancels a job that waits or runs, whose work ends at once, and answers with it. Forgets one that has ended, with
    its result and its webhook messages."""
    jobs = context.runtime.jobs
    job = await jobs.get(job_id, owner=caller.owner)
    if not job.is_final:
        return await show(context, await jobs.cancel(job_id, owner=caller.owner))
    await jobs.delete(job_id, owner=caller.owner)
    return JobDeleted(id=job_id)


@router.get("/{job_id}/deliveries", summary="List a job's webhook messages")
async def list_deliveries(job_id: JobId, context: RequestContext, caller: Caller) -> DeliveryList:
    """What was sent to the job's webhook, how often it was tried, and what came of it."""
    found = await context.runtime.jobs.deliveries(job_id, owner=caller.owner)
    return DeliveryList(data=[delivery_object(one) for one in found])


@router.post("/{job_id}/deliveries/{delivery_id}/redeliver", status_code=202, summary="Send a webhook message anew")
async def redeliver(job_id: JobId, delivery_id: str, context: RequestContext, caller: Caller) -> DeliveryObject:
    """Whatever became of it before; it is tried for another day."""
    jobs = context.runtime.jobs
    found = await jobs.deliveries(job_id, owner=caller.owner)
    if delivery_id not in {one.id for one in found}:
        raise NotFound(f"The job has no webhook message {delivery_id[:64]!r}.")
    return delivery_object(await jobs.redeliver(delivery_id, owner=caller.owner))


async def show(context: Context, job: Job) -> JobObject:
    """The job with its place in the queue and the time that it still takes."""
    jobs = context.runtime.jobs
    return job_object(job, position=await jobs.position(job), eta_s=await jobs.eta_s(job))


def accepted_headers(accepted: Accepted) -> dict[str, str]:
    """Of the answer to a request that made a job."""
    replayed = {} if accepted.is_new else {"idempotent-replayed": "true"}
    return {"location": f"/v1/jobs/{accepted.job.id}"} | replayed | warning_header(accepted.warnings)


async def _events(context: Context, job_id: str, owner: str) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(context.runtime.jobs.watch(job_id, owner=owner)) as changes:
        async for job in changes:
            yield (await show(context, job)).model_dump(mode="json")

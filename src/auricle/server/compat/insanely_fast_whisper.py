"""The API of "Insanely Fast Whisper API": tasks on URLs, which are jobs here."""

from contextlib import aclosing, suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from auricle.errors import IdempotencyConflict, InputError, InvalidOption, JobNotFound, UnsupportedOption
from auricle.formats.chunks_json import chunks_output
from auricle.job_types import Job, JobSource, WebhookTarget
from auricle.jobs.announcement import TASK_ID, task_id_of
from auricle.server.auth import Caller, principal_of
from auricle.server.context import Admitted, Context, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.job_orders import Accepted, accept
from auricle.server.job_wishes import JobWish
from auricle.server.jobs import is_job_id
from auricle.server.json_body import parse_object, spool_body
from auricle.server.uploads import MAX_FIELDS_BYTES
from auricle.server.waiting import unless_client_leaves
from auricle.types import Priority

router = APIRouter(tags=["audio"])
tasks_router = APIRouter(tags=["compatibility"])

_BACKGROUND = "Task is being processed in the background"
_KEY_PREFIX = "insanely-fast:"
_IS_ASYNC = "is_async"
_MAX_TASKS = 1000
_MAX_ID = 200


def _none(value: object) -> object:
    """These clients send Python's word for nothing."""
    return None if isinstance(value, str) and value.strip().lower() in {"", "none", "null"} else value


class _Webhook(BaseModel):
    url: str
    header: dict[str, str] | None = None
    headers: dict[str, str] | None = None


class _Task(BaseModel):
    """The body; names that are not here are ignored."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    url: str = Field(description="Where the audio is: http or https.")
    task: Literal["transcribe", "translate"] = Field("transcribe", description="`translate` writes English.")
    language: Annotated[str | None, BeforeValidator(_none)] = Field(
        None, description="Language of the audio; detected where it is `None`."
    )
    batch_size: Any = Field(64, description="Ignored: the server finds its own.", json_schema_extra={"type": "integer"})
    timestamp: Literal["chunk", "word", "work"] = Field("chunk", description="Whose times are told; `work` is `word`.")
    diarise_audio: bool = Field(False, description="Tell speakers apart, under `speakers` of the output.")
    webhook: _Webhook | None = Field(None, description="Who is told the outcome, too.")
    is_async: bool = Field(False, description="Answer at once; the webhook or `/status/{id}` tells the outcome.")
    managed_task_id: Annotated[str, Field(min_length=1, max_length=_MAX_ID)] | None = Field(
        None, description="What the task is to be called."
    )
    model: str | None = Field(None, description="As elsewhere; the server's default without it.")


def _schema() -> dict[str, Any]:
    schema = _Task.model_json_schema()
    schema["properties"]["webhook"]["anyOf"][0] = schema.pop("$defs")["_Webhook"]
    return schema


_EXAMPLE: dict[str, Any] = {
    "output": {
        "text": "Turn left.",
        "chunks": [{"timestamp": [0.0, 1.6], "text": "Turn left."}],
        "speakers": [{"speaker": "SPEAKER_00", "timestamp": [0.0, 1.6], "text": "Turn left."}],
    },
    "status": "completed",
    "task_id": "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b",
}


@router.post(
    "/",
    summary="Transcribe audio behind a URL (Insanely Fast Whisper API)",
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _schema()}}}},
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **error_example("/")},
)
async def run_task(request: Request, context: RequestContext, _place: Admitted) -> dict[str, Any]:
    """The text with its chunks, and with its speakers if asked for; with `is_async` the name of the task, and the text
    later."""
    task = await _read(request, context)
    accepted = await _accept(request, context, task)
    task_id = task_id_of(accepted.job)
    if task.is_async:
        return {"detail": _BACKGROUND, "message": _BACKGROUND, "status": "processing", "task_id": task_id}
    # Where nobody else can ask for the outcome, nobody needs it once the client has left.
    is_known = task.managed_task_id is not None or task.webhook is not None
    await _wait(request, context, accepted.job, cancel=not is_known)
    transcript = await context.runtime.jobs.result(accepted.job.id, owner=accepted.job.owner)
    return {"output": chunks_output(transcript), "status": "completed", "task_id": task_id}


@tasks_router.get(
    "/tasks", summary="Tasks that have not ended (Insanely Fast Whisper API)", responses=error_example("/tasks")
)
async def list_tasks(context: RequestContext, caller: Caller) -> dict[str, list[str]]:
    """Their names."""
    page = await context.runtime.jobs.list(owner=caller.owner, status=("queued", "running"), limit=_MAX_TASKS)
    return {"tasks": [task_id_of(job) for job in page.jobs]}


@tasks_router.get(
    "/status/{task_id:path}",
    summary="State of a task (Insanely Fast Whisper API)",
    responses=error_example("/status/"),
)
async def task_status(task_id: str, context: RequestContext, caller: Caller) -> dict[str, Any]:
    """`processing`, `completed` with the output, `error` with what went wrong, or `cancelled`."""
    return await _state(context, await _find(context, task_id, caller.owner))


@tasks_router.delete(
    "/cancel/{task_id:path}",
    summary="Cancel a task (Insanely Fast Whisper API)",
    responses=error_example("/cancel/"),
)
async def cancel_task(task_id: str, context: RequestContext, caller: Caller) -> dict[str, Any]:
    """Its work ends at once. A task that has ended stays as it is, and is told."""
    job = await _find(context, task_id, caller.owner)
    if not job.is_final and (job.metadata or {}).get(_IS_ASYNC) is False:
        raise InputError("Not a background task")
    return await _state(context, await context.runtime.jobs.cancel(job.id, owner=caller.owner))


async def _read(request: Request, context: Context) -> _Task:
    """Raises InvalidOption, UnsupportedOption."""
    async with spool_body(
        request, folder=context.uploads, max_bytes=MAX_FIELDS_BYTES, min_bytes_s=context.min_upload_bytes_s
    ) as body:
        document = parse_object(body.read_bytes())
    url = document.get("url")
    if not isinstance(url, str) or not url.strip().lower().startswith("http"):
        raise InvalidOption("Invalid URL", param="url")
    try:
        task = _Task.model_validate(document)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        param = ".".join(str(part)[:40] for part in first["loc"])
        raise InvalidOption(f"{param}: {first['msg']}", param=param) from exc
    if task.diarise_audio and context.settings.diarization == "off":
        # Clients of this API know the first words.
        raise UnsupportedOption(
            "Missing Hugging Face Token, or rather AURICLE_DIARIZATION is off: speakers are not told apart here.",
            param="diarise_audio",
        )
    return task


async def _accept(request: Request, context: Context, task: _Task) -> Accepted:
    """The task as a job. A name whose task has ended can be given again, the same task then ends as it did where that
    was well."""
    wish, source = _wish(task), JobSource(kind="url", url=task.url.strip())
    default = Priority.BATCH if task.is_async else Priority[context.settings.default_priority.upper()]
    jobs = context.runtime.jobs
    try:
        accepted = await accept(request, context, wish, source, priority=default)
        old = None if accepted.is_new else accepted.job
        if old is None or not old.is_final or old.status == "succeeded":
            return accepted
    except IdempotencyConflict:
        old = await jobs.find(wish.idempotency_key or "", owner=principal_of(request).owner)
        if old is None or not old.is_final:
            raise InvalidOption(
                "managed_task_id: another task has this name and has not ended.", param="managed_task_id"
            ) from None
    await jobs.release_key(old)
    return await accept(request, context, wish, source, priority=default)


def _wish(task: _Task) -> JobWish:
    given = {"language": task.language, "model": task.model}
    fields = [(name, value) for name, value in given.items() if value is not None]
    if task.diarise_audio:
        fields.append(("diarize", "true"))
    if task.timestamp != "chunk":
        fields += [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")]
    webhook = task.webhook
    metadata: dict[str, Any] = {_IS_ASYNC: task.is_async}
    if task.managed_task_id is not None:
        metadata[TASK_ID] = task.managed_task_id
    return JobWish(
        fields=tuple(fields),
        task=task.task,
        webhook=None
        if webhook is None
        else WebhookTarget(
            url=webhook.url, headers=(webhook.header or {}) | (webhook.headers or {}), style="insanely-fast"
        ),
        metadata=metadata,
        idempotency_key=None if task.managed_task_id is None else _KEY_PREFIX + task.managed_task_id,
    )


async def _wait(request: Request, context: Context, job: Job, *, cancel: bool) -> None:
    """Until the job has ended; it is cancelled where the client leaves before. Raises ClientDisconnect then."""
    jobs = context.runtime.jobs

    async def watch() -> None:
        async with aclosing(jobs.watch(job.id, owner=job.owner)) as changes:
            async for _ in changes:
                pass

    try:
        await unless_client_leaves(request.receive, watch())
    except ClientDisconnect:
        if cancel:
            await jobs.cancel(job.id, owner=job.owner)
        raise


async def _find(context: Context, task_id: str, owner: str) -> Job:
    """Raises JobNotFound."""
    jobs = context.runtime.jobs
    job = await jobs.find(_KEY_PREFIX + task_id, owner=owner) if len(task_id) <= _MAX_ID else None
    if job is None and is_job_id(task_id):
        with suppress(JobNotFound):
            job = await jobs.get(task_id, owner=owner)
    if job is None:
        raise JobNotFound("Task not found")
    return job


async def _state(context: Context, job: Job) -> dict[str, Any]:
    if job.status == "succeeded":
        transcript = await context.runtime.jobs.result(job.id, owner=job.owner)
        return {"status": "completed", "output": chunks_output(transcript)}
    if job.status == "failed":
        return {"status": "error", "error": job.error_message}
    return {"status": "cancelled" if job.status == "cancelled" else "processing"}

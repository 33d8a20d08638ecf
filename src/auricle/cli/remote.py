"""Transcription on a running server, through OpenAI's API and the fields that Auricle adds to it."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import httpx

from auricle import errors
from auricle.cli.remote_transcript import parse_transcript
from auricle.cli.sources import Source
from auricle.cli.speakers import Known, speaker_fields
from auricle.cli.transcribe_files import Backend
from auricle.config import Settings
from auricle.types import TranscribeOptions, Transcript

_CONNECT_TIMEOUT_S = 10.0
_BY_STATUS: dict[int, type[errors.AuricleError]] = {
    401: errors.InvalidKey,
    403: errors.Forbidden,
    404: errors.NotFound,
    408: errors.Busy,
    413: errors.AudioTooLarge,
    415: errors.UnsupportedAudio,
    429: errors.QueueFull,
    503: errors.Busy,
    504: errors.DeadlineExceeded,
}


@asynccontextmanager
async def open_remote(
    url: str, options: TranscribeOptions, *, settings: Settings, known: Known = MappingProxyType({})
) -> AsyncGenerator[Backend]:
    """Work on the server at ``url``, with or without ``/v1``; options that are left open are the server's to choose.

    Raises InvalidOption for what cannot be said through the API; transcriptions raise the server's own error, and
    Busy where no server answers.
    """
    base = url.rstrip("/").removesuffix("/v1")
    form = _form(options, settings, known)
    route = "translations" if options.task == "translate" else "transcriptions"

    async def transcribe(source: Source, on_progress: Callable[[float], None]) -> Transcript:
        try:
            with source.path.open("rb") as file:
                answer = await client.post(
                    f"{base}/v1/audio/{route}", data=form, files={"file": (source.name.name, file)}
                )
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise errors.InvalidOption(f"--server {url!r}: {error}", param="server") from error
        except httpx.TransportError as error:
            raise errors.Busy(f"no answer from {base}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise read_error(answer)
        return parse_transcript(read_json(answer))

    timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S)
    async with httpx.AsyncClient(timeout=timeout, headers=key_headers(settings)) as client:
        yield Backend(model=form.get("model", base), transcribe=transcribe)


def call_server(url: str, method: str, path: str, *, settings: Settings, **request: Any) -> httpx.Response:
    """The answer of the server at ``url``, with or without ``/v1``, to the key of the settings.

    ``request`` is what httpx takes. Raises InvalidOption for what is no address, Busy where no server answers, and the
    server's own error.
    """
    base = url.rstrip("/").removesuffix("/v1")
    headers = key_headers(settings) | request.pop("headers", {})
    timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S)
    try:
        answer = httpx.request(method, f"{base}{path}", headers=headers, timeout=timeout, **request)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise errors.InvalidOption(f"--server {url!r}: {error}", param="server") from error
    except httpx.TransportError as error:
        raise errors.Busy(f"no answer from {base}: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise read_error(answer)
    return answer


def key_headers(settings: Settings) -> dict[str, str]:
    """What lets the commands into a server that has keys."""
    key = settings.api_key.get_secret_value().strip()
    return {"authorization": f"Bearer {key}"} if key else {}


def _form(options: TranscribeOptions, settings: Settings, known: Known) -> dict[str, Any]:
    if len(options.temperatures) == 1 and options.temperatures[0] > 0:
        temperature = str(options.temperatures[0])
    elif options.temperatures == TranscribeOptions().temperatures:
        temperature = None
    else:
        raise errors.InvalidOption("a server takes one --temperature above 0, or its own ladder without the flag")
    given = settings.model_fields_set
    fields: dict[str, Any] = {
        "model": settings.model if "model" in given else None,
        "response_format": "verbose_json",
        "language": options.language,
        "languages[]": list(options.languages),
        "prompt": options.prompt,
        "keywords[]": list(options.keywords),
        "temperature": temperature,
        "timestamp_granularities[]": ["segment", "word"] if options.word_timestamps else ["segment"],
        "vad": str(options.vad).lower() if "vad" in given else None,
        "beam_size": str(options.beam_size) if "beam_size" in given else None,
        "audio_context": options.audio_context if "audio_context" in given else None,
        "condition_on_previous_text": "true" if options.condition_on_previous_text else None,
        "channels": options.channels if options.channels != "mix" else None,
        **speaker_fields(options.diarization, known),
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}


def read_json(answer: httpx.Response) -> dict[str, Any]:
    """The object in the body. Raises EngineError where it is something else."""
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise errors.EngineError(f"{answer.url} answered {answer.status_code} with something other than a JSON object")
    return cast("dict[str, Any]", body)


def read_error(answer: httpx.Response) -> errors.AuricleError:
    """The error that the server's envelope tells of, of the class that has its code."""
    body: Any = read_json(answer).get("error")
    told = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    by_code = {kind.code: kind for kind in _descendants(errors.AuricleError)}
    fallback = errors.InputError if answer.is_client_error else errors.EngineError
    kind = by_code.get(str(told.get("code"))) or _BY_STATUS.get(answer.status_code, fallback)
    return kind(str(told.get("message") or f"{answer.url} answered {answer.status_code}"))


def _descendants(kind: type[errors.AuricleError]) -> Iterator[type[errors.AuricleError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)

"""Every error that Auricle raises on purpose.

::

    AuricleError (code, retryable)
    ├── InputError             what the caller sent cannot be used
    │   ├── UnsupportedAudio   not audio at all, or a codec that cannot be read
    │   ├── CorruptAudio       audio that breaks off or cannot be decoded
    │   ├── EmptyAudio         no bytes
    │   ├── InvalidOption      an option's value is wrong (``param`` names it)
    │   │   └── IdempotencyConflict  the key was used for another request
    │   ├── UnsupportedOption  the option is right, but not for this model
    │   ├── AudioTooLarge      more bytes than ``max_upload_mb``
    │   ├── AudioTooLong       more decoded seconds than ``max_audio_s``
    │   ├── ForbiddenUrl       an address that must not be fetched
    │   └── UrlUnreachable     a URL that gives no file now
    │       └── UrlRefused     another try would not help
    ├── Forbidden              who asks may not do that
    │   └── InvalidKey         no key, or none that is valid
    ├── NotFound
    │   ├── ModelNotFound
    │   └── JobNotFound
    ├── Busy                   try again later
    │   ├── QueueFull
    │   ├── RateLimited        what the key may use is used up
    │   ├── MemoryPressure
    │   ├── DeadlineExceeded
    │   ├── ModelLoading
    │   └── ModelInUse
    ├── EngineError            the network could not be run
    │   ├── EngineNotInstalled
    │   ├── EngineFailed
    │   └── EngineOutOfMemory
    └── JobError
        ├── JobNotFinished     it has no result yet
        ├── JobCancelled       it has no result, and will have none
        └── JobKilledEngine    its audio ended the engine or the server, time and again

The classes know no HTTP. ``server/errors.py`` maps them to status codes, ``cli/exit_codes.py`` to exit codes.
"""

from typing import ClassVar


class AuricleError(Exception):
    """Root of the tree.

    ``code`` is stable and meant for machines; ``retryable`` says whether the same request can succeed later;
    ``param`` names the field at fault where there is one; ``retry_after_s`` is a hint for retryable errors.
    """

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InputError(AuricleError):
    """What the caller sent cannot be used."""

    code = "invalid_input"


class UnsupportedAudio(InputError):
    """Not audio, or a codec that cannot be read."""

    code = "unsupported_audio"


class CorruptAudio(InputError):
    """Audio that breaks off or cannot be decoded."""

    code = "corrupt_audio"


class EmptyAudio(InputError):
    """No bytes at all."""

    code = "empty_audio"


class InvalidOption(InputError):
    """An option's value is wrong."""

    code = "invalid_option"


class IdempotencyConflict(InvalidOption):
    """The idempotency key was used for another request."""

    code = "idempotency_conflict"


class UnsupportedOption(InputError):
    """The option exists, but this model or build cannot do it."""

    code = "unsupported_option"


class AudioTooLarge(InputError):
    """More bytes than the server accepts."""

    code = "audio_too_large"


class AudioTooLong(InputError):
    """More decoded seconds than the server accepts."""

    code = "audio_too_long"


class ForbiddenUrl(InputError):
    """An address that must not be fetched."""

    code = "forbidden_url"


class UrlUnreachable(InputError):
    """A URL that gives no file now: no such host, no answer, a server in trouble."""

    code = "url_unreachable"
    retryable = True


class UrlRefused(UrlUnreachable):
    """A URL whose server says no, or is too slow: another try would not help."""

    code = "url_refused"
    retryable = False


class Forbidden(AuricleError):
    """Who asks may not do that."""

    code = "forbidden"


class InvalidKey(Forbidden):
    """No key where one is needed, or one that is not valid."""

    code = "invalid_api_key"


class NotFound(AuricleError):
    """The thing asked for does not exist."""

    code = "not_found"


class ModelNotFound(NotFound):
    """No such model, or it cannot be had from here."""

    code = "model_not_found"


class JobNotFound(NotFound):
    """No such job."""

    code = "job_not_found"


class Busy(AuricleError):
    """The same request can succeed later."""

    code = "busy"
    retryable = True


class QueueFull(Busy):
    """Too much work is queued."""

    code = "queue_full"


class RateLimited(Busy):
    """What the key may use in this window of time is used up."""

    code = "rate_limit_exceeded"


class MemoryPressure(Busy):
    """Too little memory is left."""

    code = "memory_pressure"


class DeadlineExceeded(Busy):
    """The work was not done in the time the caller gave."""

    code = "deadline_exceeded"


class ModelLoading(Busy):
    """The model is on its way into memory."""

    code = "model_loading"


class ModelInUse(Busy):
    """The model cannot be removed while it is in use."""

    code = "model_in_use"


class EngineError(AuricleError):
    """The network could not be run."""

    code = "engine_error"


class EngineNotInstalled(EngineError):
    """The engine's package is missing."""

    code = "engine_not_installed"


class EngineFailed(EngineError):
    """The engine's process died or raised, and a fresh one did too."""

    code = "engine_failed"
    retryable = True


class EngineOutOfMemory(EngineError):
    """The device has too little memory even for one row."""

    code = "engine_out_of_memory"
    retryable = True


class JobError(AuricleError):
    """A job could not be run to its end."""

    code = "job_error"


class JobNotFinished(JobError):
    """The job has no result yet."""

    code = "job_not_finished"
    retryable = True


class JobCancelled(JobError):
    """The job was cancelled, so there is no result."""

    code = "job_cancelled"


class JobKilledEngine(JobError):
    """The engine, or the server itself, died time and again while it worked on the job."""

    code = "job_killed_engine"

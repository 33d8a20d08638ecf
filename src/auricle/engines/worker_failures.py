"""What an exception in an engine means to those who wait."""

from auricle.errors import AuricleError, EngineFailed, EngineOutOfMemory


def translate(error: Exception, what: str) -> AuricleError:
    """``error`` as one of our own, its text after ``what``: EngineOutOfMemory, or EngineFailed."""
    if isinstance(error, AuricleError):
        return error
    if _is_out_of_memory(error):
        return EngineOutOfMemory(f"{what}: out of memory ({error})")
    return EngineFailed(f"{what}: {type(error).__name__}: {error}")


def _is_out_of_memory(error: Exception) -> bool:
    """CTranslate2 and torch raise RuntimeErrors that only their text tells apart; std::bad_alloc is a MemoryError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "alloc_failed" in text

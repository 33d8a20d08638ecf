"""Transcripts of earlier requests, by key: bounded in age and in bytes, least recently used go first."""

import threading
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from auricle.store.database import translate_errors, writing
from auricle.store.tables import transcripts
from auricle.types import Transcript

BODY_VERSION = 1
"""Of the shape of a stored transcript; bodies of other versions are ignored and purged."""

_TRANSCRIPT = TypeAdapter(Transcript)
_ROW_BYTES = 250
"""What a row costs beside its body."""
_LOW_WATER = 0.9
"""How full the store is after transcripts had to go, so that not every write purges."""
_PUTS_PER_PURGE = 64
_KEYS_PER_DELETE = 500


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


class TranscriptStore:
    """Blocks; threads may share it. Every method raises StoreUnavailable where the database does not work."""

    def __init__(
        self, engine: Engine, *, max_age: timedelta, max_bytes: int, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._engine = engine
        self._max_age = max_age
        self._max_bytes = max_bytes
        self._now = now
        self._lock = threading.Lock()
        self._used: dict[str, datetime] = {}
        self._total = 0
        self._puts = 0

    @property
    def size_bytes(self) -> int:
        """What the transcripts take, as far as this process knows."""
        return self._total

    def get(self, key: str, *, words: bool, logprobs: bool) -> Transcript | None:
        """The transcript, if it is there, young enough, and holds what is asked for (it may hold more)."""
        now = self._now()
        query = select(transcripts.c.body, transcripts.c.has_words, transcripts.c.has_logprobs).where(
            transcripts.c.key == key,
            transcripts.c.version == BODY_VERSION,
            transcripts.c.created_at > now - self._max_age,
        )
        with translate_errors(), self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.has_words < words or row.has_logprobs < logprobs:
            return None
        try:
            transcript = _TRANSCRIPT.validate_json(zlib.decompress(row.body))
        except (zlib.error, ValidationError):
            return None
        # Written later, with the next transcript: a read should not wait for the disk.
        with self._lock:
            self._used[key] = now
        return transcript

    def put(self, key: str, transcript: Transcript, *, words: bool, logprobs: bool) -> None:
        """Keep the transcript, in place of what ``key`` had. One that is larger than the whole store is not kept."""
        body = zlib.compress(_TRANSCRIPT.dump_json(transcript))
        size = len(body) + _ROW_BYTES
        if size > self._max_bytes:
            return
        now = self._now()
        row = {
            "key": key,
            "created_at": now,
            "used_at": now,
            "size_bytes": size,
            "version": BODY_VERSION,
            "has_words": words,
            "has_logprobs": logprobs,
            "body": body,
        }
        with translate_errors():
            try:
                with writing(self._engine).begin() as connection:
                    self._write_uses(connection)
                    connection.execute(delete(transcripts).where(transcripts.c.key == key))
                    connection.execute(insert(transcripts).values(row))
            except IntegrityError:
                return  # Another process kept the same just now.
        with self._lock:
            self._total += size
            self._puts += 1
            is_time = self._total > self._max_bytes or self._puts % _PUTS_PER_PURGE == 0
        if is_time:
            self.purge()

    def purge(self) -> None:
        """Delete what is too old or of another shape, then the least recently used until the rest fits."""
        outdated = (transcripts.c.created_at <= self._now() - self._max_age) | (transcripts.c.version != BODY_VERSION)
        with translate_errors(), writing(self._engine).begin() as connection:
            self._write_uses(connection)
            connection.execute(delete(transcripts).where(outdated))
            total = connection.execute(select(func.coalesce(func.sum(transcripts.c.size_bytes), 0))).scalar_one()
            if total > self._max_bytes:
                total -= _evict(connection, total - int(self._max_bytes * _LOW_WATER))
        with self._lock:
            self._total = total

    def close(self) -> None:
        """Write what is still to be written, and let go of the database."""
        try:
            with translate_errors(), writing(self._engine).begin() as connection:
                self._write_uses(connection)
        finally:
            self._engine.dispose()

    def _write_uses(self, connection: Connection) -> None:
        with self._lock:
            used, self._used = self._used, {}
        if used:
            statement = update(transcripts).where(transcripts.c.key == bindparam("used_key"))
            rows = [{"used_key": key, "used_at": time} for key, time in used.items()]
            connection.execute(statement.values(used_at=bindparam("used_at")), rows)


def _evict(connection: Connection, surplus: int) -> int:
    """Delete the least recently used transcripts of at least ``surplus`` bytes; returns how many bytes they had."""
    freed = 0
    keys: list[str] = []
    query = select(transcripts.c.key, transcripts.c.size_bytes).order_by(transcripts.c.used_at)
    for key, size in connection.execute(query):
        if freed >= surplus:
            break
        keys.append(key)
        freed += size
    for first in range(0, len(keys), _KEYS_PER_DELETE):
        connection.execute(delete(transcripts).where(transcripts.c.key.in_(keys[first : first + _KEYS_PER_DELETE])))
    return freed

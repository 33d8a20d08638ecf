"""Messages to an engine's process, written by a thread of their own.

A row is up to 2 MB. The event loop's pipes would copy what waits and slow down as it grows: with 128 rows on their way
each took 7 ms of the loop. Here the arrays themselves are written, and the loop goes on meanwhile.
"""

import contextlib
import os
import sys
from io import FileIO
from queue import SimpleQueue
from threading import Thread

from auricle.engines.wire import write_message

if sys.platform == "linux":
    import fcntl

_PIPE_BYTES = 1 << 20
"""What Linux lets anybody have; 64 KiB, the default, would be thirty writes and thirty reads a row."""


class Outbox:
    """The writing end of a pipe, whose ``reader`` belongs to the process. ``close`` it in the end."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._pipe = FileIO(writer, "wb")
        self._messages: SimpleQueue[object] = SimpleQueue()
        self._is_closing = False
        self._thread = Thread(target=self._write, name="auricle-outbox", daemon=True)
        self._thread.start()

    def close_reader(self) -> None:
        """The process has its own copy, or there will be none."""
        os.close(self.reader)

    def send(self, message: object) -> None:
        """Write ``message`` after those before; where nobody reads any more it is lost, which is noticed elsewhere."""
        self._messages.put(message)

    def close(self) -> None:
        """Write nothing more than the message that is being written, and close the pipe."""
        self._is_closing = True
        self._messages.put(None)

    def join(self) -> None:
        """Wait for that; it is at once where the process has ended."""
        self._thread.join()

    def _write(self) -> None:
        with self._pipe, contextlib.suppress(BrokenPipeError):
            while (message := self._messages.get()) is not None and not self._is_closing:
                write_message(self._pipe, message)
                del message

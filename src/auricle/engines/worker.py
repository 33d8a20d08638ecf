"""Main of an engine's process: ``python -m auricle.engines.worker``.

It speaks the messages of ``engines.wire`` over its standard input and output, and ends by itself when its input does:
however the parent dies, no engine stays behind. The engine runs in the main thread, always the same one, while a
second thread reads, so that what comes next is already here when there is room for it.
"""

import os
import signal
import sys
import threading
import time
import traceback
from functools import partial
from io import RawIOBase
from queue import SimpleQueue
from typing import cast

from auricle.engines.base import Engine, EngineConfig, SlotEngine
from auricle.engines.heap import keep_freed_memory
from auricle.engines.registry import load_engine
from auricle.engines.wire import Ready, Send, StartFailed, read_message, write_message
from auricle.engines.worker_batches import serve_batches
from auricle.engines.worker_failures import translate
from auricle.engines.worker_slots import serve_slots

_NICE = 5
_END_GRACE_S = 0.5


def serve(inbox: "SimpleQueue[object]", send: Send) -> int:
    """Load the engine that the first message describes, then answer rows until None comes.

    Returns the exit status. An engine that raised is not used again.
    """
    config = inbox.get()
    if not isinstance(config, EngineConfig):
        return 0 if config is None else 2
    try:
        engine = load_engine(config)
        info = engine.info
    except Exception as error:  # noqa: BLE001 - the parent decides what an error means
        traceback.print_exc()
        send(StartFailed(error=translate(error, f"engine {config.engine!r} could not load {config.model_name!r}")))
        return 1
    if info.device == "cpu" and hasattr(os, "nice"):
        # The engine takes all cores; whoever answers requests and reads audio must still get a turn at once.
        os.nice(_NICE)
    send(Ready(info=info))
    try:
        if info.joins:
            return serve_slots(cast("SlotEngine", engine), inbox, send)
        return serve_batches(cast("Engine", engine), inbox, send)
    finally:
        engine.close()


def _read_inbox(pipe: RawIOBase, inbox: "SimpleQueue[object]") -> None:
    try:
        while True:
            inbox.put(read_message(pipe))
    except (EOFError, OSError):
        inbox.put(None)
    # Nobody waits for an answer any more: a load or a batch that still runs is not worth finishing.
    time.sleep(_END_GRACE_S)
    os._exit(0)


def _take_pipes() -> tuple[RawIOBase, RawIOBase]:
    """The two pipes, under descriptors of their own, so that a print in a library cannot corrupt the stream."""
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def main() -> int:
    """Run until the parent closes the pipe; returns the exit status."""
    # Ctrl-C reaches the whole process group; the parent decides when its engines end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    incoming, outgoing = _take_pipes()
    inbox: SimpleQueue[object] = SimpleQueue()
    threading.Thread(target=_read_inbox, args=(incoming, inbox), daemon=True).start()
    try:
        return serve(inbox, partial(write_message, outgoing))
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())

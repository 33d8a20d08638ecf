"""Accept a decoding, call the window silent, or try again hotter.

The thresholds and their order are openai/whisper's ``decode_with_fallback``, with its later correction that a window
is silent only where the no-speech probability is high *and* the text is improbable.
"""

import zlib
from collections.abc import Sequence
from enum import Enum

from auricle.types import Decoding, TranscribeOptions

_LOOP_REPEATS = 12
_LOOP_LENGTH = 8


class Verdict(Enum):
    ACCEPT = "accept"
    SILENT = "silent"
    RETRY = "retry"


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of its zlib form; above about 2.4 the text repeats itself."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether the tokens end in one phrase (up to 8 tokens) said at least 12 times on end.

    Catches loops of short text that the compression ratio is blind to.
    """
    for length in range(1, _LOOP_LENGTH + 1):
        needed = length * _LOOP_REPEATS
        tail = tokens[-needed:]
        if len(tail) == needed and all(tail[i] == tail[i % length] for i in range(needed)):
            return True
    return False


def is_repetitive(decoding: Decoding, text: str, options: TranscribeOptions) -> bool:
    """Whether the text fails the compression-ratio or the loop check."""
    limit = options.compression_ratio_threshold
    return limit is not None and (compression_ratio(text) > limit or is_loop(decoding.tokens))


def judge(decoding: Decoding, text: str, options: TranscribeOptions) -> Verdict:
    """What to do with a decoding whose text is ``text``."""
    improbable = options.logprob_threshold is not None and decoding.avg_logprob < options.logprob_threshold
    quiet = options.no_speech_threshold is not None and decoding.no_speech_prob > options.no_speech_threshold
    if quiet and (improbable or options.logprob_threshold is None):
        return Verdict.SILENT
    if improbable or is_repetitive(decoding, text, options):
        return Verdict.RETRY
    return Verdict.ACCEPT


def choose_best(tries: Sequence[tuple[Decoding, str]], options: TranscribeOptions) -> Decoding:
    """The most probable of the tries that all failed, repetitive ones last (as faster-whisper does)."""
    calm = [decoding for decoding, text in tries if not is_repetitive(decoding, text, options)]
    return max(calm or [decoding for decoding, _ in tries], key=lambda decoding: decoding.avg_logprob)

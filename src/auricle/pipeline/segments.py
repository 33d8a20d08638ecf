"""Tokens of a window into pieces of text with times, and where the clip goes on.

The reading of timestamp tokens is openai/whisper's: a pair of timestamps parts two segments, a single one at the end
says that nothing more is spoken, a pair at the end that the next segment begins there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from auricle.tokenizer import Tokenizer
from auricle.types import Window
from auricle.units import SAMPLE_RATE, SAMPLES_PER_TIMESTAMP

_MIN_UNHEARD = SAMPLE_RATE
"""Speech that a window must have after its last timestamp before it is decoded again from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Text between two timestamps; ``start`` and ``end`` are samples of the window."""

    start: int
    end: int
    tokens: tuple[int, ...]
    """As the model gave them, timestamps included."""
    text_offset: int
    """Text tokens of the window before this piece's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The pieces of a window and the number of samples after which the next window begins."""

    pieces: tuple[Piece, ...]
    advance: int


def split_tokens(tokens: Sequence[int], window: Window, tokenizer: Tokenizer, *, packed: bool) -> Split:
    """Pieces of the window's text, ordered and inside the window.

    ``packed`` clips know where speech is: their text ends early only where speech remains, and then the clip goes on
    there. Otherwise the timestamps alone decide, as in openai/whisper.
    """
    length = len(window.samples)
    if not tokens:
        return Split(pieces=(), advance=length)
    stamped = [tokenizer.is_timestamp(token) for token in tokens]
    seams = [index + 1 for index, pair in enumerate(pairwise(stamped)) if all(pair)]
    ends_once = stamped[-2:] == [False, True]
    cuts = [*seams, len(tokens)] if ends_once or not seams else seams
    pieces: list[Piece] = []
    text_offset = 0
    for first, last in pairwise([0, *cuts]):
        part = tuple(tokens[first:last])
        start = _stamp(part[0], length, tokenizer) if stamped[first] else 0
        end = _stamp(part[-1], length, tokenizer) if stamped[last - 1] else length
        # A piece without text, or without time for it, is none.
        if start < end and tokenizer.decode(part).strip():
            pieces.append(Piece(start=start, end=end, tokens=part, text_offset=text_offset))
        text_offset += sum(token < tokenizer.eot for token in part)
    closed = bool(seams) and not ends_once
    heard = _stamp(tokens[cuts[-1] - 1], length, tokenizer) if stamped[cuts[-1] - 1] else length
    goes_on = _speech_after(window, heard) >= _MIN_UNHEARD if packed else closed
    return Split(pieces=tuple(pieces), advance=heard if goes_on and heard > 0 else length)


def _stamp(token: int, length: int, tokenizer: Tokenizer) -> int:
    return min((token - tokenizer.timestamp_begin) * SAMPLES_PER_TIMESTAMP, length)


def _speech_after(window: Window, offset: int) -> int:
    """Samples of speech behind the window sample ``offset``."""
    position = window.to_file(offset)
    return sum(max(0, span.end - max(span.start, position)) for span in window.speech)

"""Times of tokens into words: grouping, punctuation, and times that hold together.

Every word has a start and an end, in order, inside its segment. Alignment paths linger in silence, so words that
begin or end there are drawn to the speech they belong to, and words of an impossible length are cut
(the idea is that of openai/whisper's ``timing.py``).
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from auricle.tokenizer import Tokenizer
from auricle.types import Window, Word
from auricle.units import samples_to_seconds, seconds_to_samples

_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"
_MAX_WORD_S = 0.7
_MAX_MEDIAN_FACTOR = 2.0


def group_words(
    tokens: Sequence[int],
    times: Sequence[tuple[float, float]],
    probabilities: Sequence[float],
    tokenizer: Tokenizer,
    language: str | None,
) -> list[Word]:
    """Words of the text ``tokens``, with times in seconds of the window; punctuation joins its neighbour.

    ``times`` and ``probabilities`` are per token and may be shorter than ``tokens`` where an engine could not align
    its tail; such tokens take the last known time.
    """
    last = times[-1][1] if times else 0.0
    words: list[Word] = []
    index = 0
    for text, ids in tokenizer.split_words(tokens, language):
        own = [times[i] if i < len(times) else (last, last) for i in range(index, index + len(ids))]
        odds = [probabilities[i] for i in range(index, min(index + len(ids), len(probabilities)))]
        words.append(
            Word(
                word=text,
                start=own[0][0],
                end=max(own[-1][1], own[0][0]),
                probability=sum(odds) / len(odds) if odds else 0.0,
            )
        )
        index += len(ids)
    return _join_punctuation(words)


def _join_punctuation(words: Sequence[Word]) -> list[Word]:
    """Opening marks go to the following word, closing ones to the preceding word.

    Marks take no time of their own, since they mostly lie in a pause; but those at the end of a segment belong to the
    last word's sound, for the alignment path leaves that word early.
    """
    joined: list[Word] = []
    opening: list[Word] = []
    for word in words:
        text = word.word.strip()
        if text and text in _PREPENDED and word.word.startswith(" "):
            opening.append(word)
        elif joined and not opening and text and all(character in _APPENDED for character in text):
            joined[-1] = replace(joined[-1], word=joined[-1].word + word.word)
        else:
            prefix = "".join(mark.word for mark in opening)
            joined.append(replace(word, word=prefix + word.word))
            opening = []
    joined.extend(opening)
    if joined:
        joined[-1] = replace(joined[-1], end=max(joined[-1].end, words[-1].end))
    return joined


def place_words(words: Sequence[Word], window: Window, start: int, end: int) -> list[Word]:
    """Words of one piece in seconds of the file, ordered, inside the piece's ``start`` and ``end`` (window samples)."""
    if not words:
        return []
    spans = [(seconds_to_samples(word.start), seconds_to_samples(word.end)) for word in words]
    spans = _cut_long(spans)
    placed: list[Word] = []
    floor = window.to_file(start)
    ceiling = window.to_file(end, is_end=True)
    for word, span in zip(words, spans, strict=True):
        first, last = (min(max(offset, start), end) for offset in span)
        file_start, file_end = window.to_file(first), window.to_file(last, is_end=True)
        file_start, file_end = _draw_to_speech(file_start, file_end, window)
        file_start = min(max(file_start, floor), ceiling)
        file_end = min(max(file_end, file_start), ceiling)
        placed.append(replace(word, start=samples_to_seconds(file_start), end=samples_to_seconds(file_end)))
        floor = file_end
    return placed


def _cut_long(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last words that are far longer than usual lose the silence on their outer side."""
    lengths = [last - first for first, last in spans if last > first]
    usual = min(median(lengths), seconds_to_samples(_MAX_WORD_S)) if lengths else 0
    limit = int(usual * _MAX_MEDIAN_FACTOR)
    cut = list(spans)
    first, last = cut[0]
    if limit and last - first > limit and len(cut) > 1:
        cut[0] = (last - limit, last)
    first, last = cut[-1]
    if limit and last - first > limit and len(cut) > 1:
        cut[-1] = (first, first + limit)
    return cut


def _draw_to_speech(start: int, end: int, window: Window) -> tuple[int, int]:
    """Move a start (end) that lies in silence to the begin (end) of the speech that the word overlaps."""
    touched = [span for span in window.speech if span.start < end and span.end > start]
    if not touched:
        return start, end
    return max(start, touched[0].start), min(end, touched[-1].end)

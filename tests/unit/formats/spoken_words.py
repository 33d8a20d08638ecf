"""Words for segments of tests."""

from auricle.types import Word


def spell(text: str, start: float, end: float) -> tuple[Word, ...]:
    """Words of equal length in time."""
    words = text.split()
    step = (end - start) / len(words)
    return tuple(
        Word(word=" " + word, start=start + index * step, end=start + (index + 1) * step, probability=0.9)
        for index, word in enumerate(words)
    )

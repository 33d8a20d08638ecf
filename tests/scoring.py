"""How texts are compared in tests: word error rate over lower-case words without punctuation."""

import re
import unicodedata

import jiwer


def normalize(text: str) -> str:
    """Lower case, no punctuation, single spaces."""
    plain = "".join(c if unicodedata.category(c)[0] in "LNM" or c in "' " else " " for c in text.lower())
    return re.sub(r"\s+", " ", plain).strip()


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Wrong words (substituted, deleted, inserted) and words of the reference."""
    words = normalize(reference).split()
    if not words:
        return len(normalize(hypothesis).split()), 0
    out = jiwer.process_words(normalize(reference), normalize(hypothesis) or "∅")
    return out.substitutions + out.deletions + out.insertions, len(words)


def word_error_rate(pairs: list[tuple[str, str]]) -> float:
    """Over all (reference, hypothesis) pairs together."""
    counts = [word_errors(reference, hypothesis) for reference, hypothesis in pairs]
    return sum(wrong for wrong, _ in counts) / max(1, sum(words for _, words in counts))

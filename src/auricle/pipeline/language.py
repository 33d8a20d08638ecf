"""Which language is spoken: a vote over windows."""

from collections import defaultdict
from collections.abc import Sequence

from auricle.types import Decoding


def vote(ballots: Sequence[tuple[Decoding, float]], allowed: Sequence[str]) -> tuple[str, float]:
    """Language and its probability from detections, each weighted by its seconds of speech.

    ``allowed`` restricts the choice (all languages where it is empty); the probability is over the allowed ones.
    """
    scores: dict[str, float] = defaultdict(float)
    for decoding, weight in ballots:
        for language, probability in decoding.language_probabilities:
            if not allowed or language in allowed:
                scores[language] += probability * weight
    total = sum(scores.values())
    if not total:
        return (allowed[0] if allowed else "en"), 0.0
    best = max(scores, key=lambda language: scores[language])
    return best, scores[best] / total

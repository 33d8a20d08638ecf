"""How many speakers are there, and what is the voice of each? Average linkage over the vectors of a file."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auricle.speakers.base import Voices
from auricle.speakers.embedding import mean_voice

Weights = NDArray[np.float64]
"""float64 (n,): seconds of speech behind each voice."""

_TIGHT = 0.70
"""Excerpts are grouped while they are alike by this on average: rather too many groups than two speakers in one."""
SAME_SPEAKER = 0.85
"""Groups are one speaker's if they are alike by more than this, as a share of how alike each is in itself. Both are
calibrated, see ``benchmarks/diarization.py``."""
_MIN_SPEAKER_S = 3.0
_MIN_SHARE = 0.1
_MIN_SHARE_OF_LONG = 0.004
# The table of all pairs takes 16 MB.
_MAX_LINKED = 2000
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Merge:
    """Two groups become one, which takes the place of the first."""

    first: int
    second: int
    similarity: float


def find_speakers(voices: Voices, seconds: Weights, *, at_least: int = 1, at_most: int | None = None) -> Voices:
    """The voice of each speaker (k, dim), the one who spoke most first.

    ``at_least`` and ``at_most`` bound how many; there are never more than voices.
    """
    if len(voices) == 0:
        return voices
    # Of a long file some, evenly: means of several would be more alike than the single ones that were calibrated with.
    some = np.linspace(0, len(voices) - 1, min(len(voices), _MAX_LINKED)).astype(int)
    weights: Weights = seconds[some] * (float(seconds.sum()) / float(seconds[some].sum()))
    labels = choose_groups(link(voices[some]), weights, at_least)
    labels = join_groups(voices[some], labels, at_least=at_least, at_most=at_most)
    centroids = _centroids(voices[some], weights, labels)
    for _ in range(_ROUNDS):
        nearest = np.argmax(voices @ centroids.T, axis=1)
        if len(np.unique(nearest)) < len(centroids) or np.array_equal(nearest, labels):
            break
        labels = nearest
        centroids = _centroids(voices, seconds, labels)
    return centroids


def least_speech(seconds: float) -> float:
    """Who seems to speak less, in so many seconds of speech, is rather what was between two others.

    Such odd excerpts gather in a long file, and in a short one a sentence may be all that somebody says.
    """
    return max(min(_MIN_SPEAKER_S, _MIN_SHARE * seconds), _MIN_SHARE_OF_LONG * seconds)


def link(voices: Voices) -> list[Merge]:
    """Average linkage: the two groups whose voices are most alike on average become one, until all are.

    As scipy's ``linkage(method="average", metric="cosine")``, in O(n²).
    """
    similar = (voices @ voices.T).astype(np.float32)
    np.fill_diagonal(similar, -np.inf)
    sizes = np.ones(len(voices))
    nearest = similar.argmax(axis=1)
    best = similar.max(axis=1)
    merges: list[Merge] = []
    for _ in range(len(voices) - 1):
        first = int(best.argmax())
        first, second = sorted((first, int(nearest[first])))
        merges.append(Merge(first, second, float(similar[first, second])))
        row = (sizes[first] * similar[first] + sizes[second] * similar[second]) / (sizes[first] + sizes[second])
        row[[first, second]] = -np.inf
        sizes[first] += sizes[second]
        similar[first] = similar[:, first] = row
        similar[second] = similar[:, second] = -np.inf
        best[second] = -np.inf
        # Averages never exceed the greater of two, so that only those who lost their nearest have to look again.
        orphans = np.flatnonzero(((nearest == first) | (nearest == second)) & (best > -np.inf))
        for orphan in {first, *orphans.tolist()}:
            nearest[orphan] = similar[orphan].argmax()
            best[orphan] = similar[orphan, nearest[orphan]]
    return merges


def choose_groups(merges: list[Merge], weights: Weights, at_least: int = 1) -> NDArray[np.int64]:
    """Tight groups, and at least so many: 0 … k - 1 for each voice, or -1 where its group is too small to count."""
    enough = least_speech(float(weights.sum()))
    stages = list(_stages(merges, weights, enough))
    stop = sum(merge.similarity >= _TIGHT for merge in merges)
    while stop and stages[stop] < at_least:
        stop -= 1
    if stages[stop] < at_least:
        # There is too little speech for so many speakers of some weight.
        stop, enough = max(0, len(weights) - at_least), 0.0
    groups = np.arange(len(weights))
    for merge in merges[:stop]:
        groups[groups == merge.second] = merge.first
    names, inverse = np.unique(groups, return_inverse=True)
    totals = np.bincount(inverse, weights, len(names))
    large = [name for name in np.argsort(-totals, kind="stable").tolist() if totals[name] >= enough]
    place = np.full(len(names), -1)
    place[large or [int(totals.argmax())]] = np.arange(max(1, len(large)))
    return place[inverse]


def join_groups(
    voices: Voices, labels: NDArray[np.int64], *, at_least: int = 1, at_most: int | None = None
) -> NDArray[np.int64]:
    """Groups that are one speaker's become one, the most alike first, as far as the number allows."""
    labels = labels.copy()
    while (count := int(labels.max()) + 1) > at_least:
        members = (labels[:, None] == np.arange(count)).astype(np.float64)
        sizes = members.sum(axis=0)
        sums = members.T @ voices
        pairs = sums @ sums.T
        own = np.square(voices).sum(axis=1) @ members
        # How alike the voices of a group are on average, but for each with itself.
        within = np.where(sizes > 1, (np.diag(pairs) - own) / np.maximum(sizes * (sizes - 1), 1), 1.0)
        alike = pairs / np.outer(sizes, sizes) / np.sqrt(np.outer(within, within))
        np.fill_diagonal(alike, -np.inf)
        first, second = sorted(divmod(int(alike.argmax()), count))
        if alike[first, second] <= SAME_SPEAKER and count <= (at_most or count):
            break
        labels[labels == second] = first
        labels[labels > second] -= 1
    return labels


def _stages(merges: list[Merge], weights: Weights, enough: float) -> Iterator[int]:
    """How many groups are large enough to be a speaker, before the first merge and after each."""
    totals = weights.copy()
    count = int((totals >= enough).sum())
    yield count
    for merge in merges:
        first, second = totals[merge.first], totals[merge.second]
        totals[merge.first], totals[merge.second] = first + second, 0.0
        count += int(first + second >= enough) - int(first >= enough) - int(second >= enough)
        yield count


def _centroids(voices: Voices, weights: Weights, labels: NDArray[np.int64]) -> Voices:
    return np.stack([mean_voice(voices[labels == k], weights[labels == k]) for k in range(int(labels.max()) + 1)])

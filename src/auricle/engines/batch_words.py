"""Times and probabilities of the tokens of a text that is finished: the text once more, in one step of the decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auricle.engines.alignment import attention_weights, token_starts
from auricle.engines.batch_search import DecoderRun
from auricle.engines.rules import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTokens:
    """Of each token."""

    starts: tuple[int, ...]
    """First encoder position; one more, of the end."""
    logprobs: tuple[float, ...]
    """Among the text tokens, without timestamps before it."""


def time_tokens(run: DecoderRun, keys: Floats, start: Sequence[int], text: Sequence[int], *, eot: int) -> TimedTokens:
    """Align ``text`` (at least one token) with the one window of ``run``, which has yet to begin.

    ``keys`` (A, positions, d) are those of the alignment heads at the positions that are to be aligned with; ``start``
    are the tokens from the start of transcript to the text.
    """
    before = len(start) - 1
    answer = run.step([[*start, *text, eot]], range(before, before + len(text)))
    among_text = answer.logits[0, :, :eot]
    own = among_text[np.arange(len(text)), text]
    # In place: these are the largest arrays of an engine.
    top = among_text.max(axis=1, keepdims=True)
    np.exp(np.subtract(among_text, top, out=among_text), out=among_text)
    logprobs = own - top[:, 0] - np.log(among_text.sum(axis=1))
    starts = token_starts(attention_weights(answer.queries[0], keys), slice(before, -1))
    return TimedTokens(starts=tuple(starts.tolist()), logprobs=tuple(logprobs.tolist()))

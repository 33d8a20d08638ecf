"""Times and probabilities of the tokens of a text that is finished: the text once more, in one step of the decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auricle.engines.alignment import attention_weights, token_starts
from auricle.engines.openvino_decoder import DecoderRun
from auricle.engines.openvino_tensors import Cross, to_float32


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedTokens:
    """Of each token."""

    starts: tuple[int, ...]
    """First encoder position; one more, of the end."""
    logprobs: tuple[float, ...]
    """Among the text tokens, without timestamps before it."""


def time_tokens(
    run: DecoderRun,
    window: Cross,
    start: Sequence[int],
    text: Sequence[int],
    *,
    eot: int,
    heads: Sequence[tuple[int, int]],
    positions: int,
) -> TimedTokens:
    """Align ``text`` (at least one token) with the first ``positions`` of its window, which ``run`` has yet to begin.

    ``start`` are the tokens from the start of transcript to the text, ``heads`` the alignment heads (layer, head).
    """
    before = len(start) - 1
    answer = run.step([[*start, *text, eot]], range(before, before + len(text)))
    among_text = answer.logits[0, :, :eot]
    own = among_text[np.arange(len(text)), text]
    # In place: these are the largest arrays of an engine.
    top = among_text.max(axis=1, keepdims=True)
    np.exp(np.subtract(among_text, top, out=among_text), out=among_text)
    logprobs = own - top[:, 0] - np.log(among_text.sum(axis=1))
    keys = np.stack([to_float32(window[2 * layer])[0, head, :positions] for layer, head in heads])
    starts = token_starts(attention_weights(answer.queries[0], keys), slice(before, -1))
    return TimedTokens(starts=tuple(starts.tolist()), logprobs=tuple(logprobs.tolist()))

"""Decodes the windows of a batch step by step: a network's logits, the rules, the searches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from auricle.engines.base import Pause
from auricle.engines.rules import (
    Floats,
    Rules,
    allowed_next,
    best_tokens,
    log_sum,
    sample_tokens,
    suppress,
    top_tokens,
)
from auricle.engines.search import Hypothesis, Search, count_choices, make_search
from auricle.types import DecodingOptions


class Answer(Protocol):
    """What a decoder says for N rows; holds until its next step."""

    @property
    def logits(self) -> Floats:
        """(N, places, vocabulary) at the places that were asked for; may be written to."""
        ...

    @property
    def queries(self) -> Floats:
        """(N, L, heads, d) of the alignment heads, at all places, not scaled."""
        ...


class DecoderRun(Protocol):
    """A decoder on some windows, from the prompt on. Several runs may take turns.

    A row is a hypothesis of a window; each window has as many rows as any other, side by side.
    """

    def keep(self, windows: Sequence[int]) -> None:
        """From the next step on the rows belong to these of the windows that are present, by number."""
        ...

    def step(
        self, tokens: Sequence[Sequence[int]], wanted: Sequence[int], came_from: Sequence[int] | None = None
    ) -> Answer:
        """Take ``tokens`` (N, L) behind the earlier ones of the rows ``came_from`` (N,) of the last step, and answer at
        the places ``wanted`` of L.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What comes before the text of each window."""

    tokens: Sequence[Sequence[int]]
    """All of one length."""
    start: int
    """Where the start of transcript is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How the windows of a batch are searched."""

    options: DecodingOptions
    rules: Rules
    limit: int
    """Most tokens of a window."""
    numbers: Sequence[Floats | None]
    """(samples, limit) of each window: what its samples are drawn with; None where nothing is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """What the search of a window ended with."""

    hypothesis: Hypothesis
    start_logprobs: Floats
    """(vocabulary,): what could have followed the start of transcript."""


def search_windows(run: DecoderRun, prompt: Prompt, plan: SearchPlan, pause: Pause) -> list[Found]:
    """Search all windows of ``run``, which has yet to begin. ``pause`` is called before every step.

    Each window has as many rows as any: its hypotheses side by side, the last one again where they are fewer.
    Windows that are done leave when they are half of those that are left, and so do samples.
    """
    searches = [make_search(plan.options, numbers) for numbers in plan.numbers]
    answer = run.step(prompt.tokens, [prompt.start, len(prompt.tokens[0]) - 1])
    both = answer.logits
    start_logprobs = both[:, 0] - log_sum(both[:, 0])[:, None]
    # The samples of a window all begin with the row of its prompt.
    width, held = len(searches[0].live), 1
    logits = np.repeat(both[:, 1], width, axis=0)
    present = list(range(len(searches)))
    """Windows that are with the decoder; ``width`` rows of ``logits`` each, ``held`` rows each in its last step."""
    for step in range(plan.limit):
        parents = _advance(
            [searches[window] for window in present], logits, width, plan, is_last=step == plan.limit - 1
        )
        left = [slot for slot, window in enumerate(present) if not searches[window].is_done]
        if not left:
            break
        widest = max(len(searches[present[slot]].live) for slot in left)
        width = widest if widest > held or 2 * widest <= held else held
        slots = left if 2 * len(left) <= len(present) else range(len(present))
        rows = [
            (token, slot * held + min(parent, held - 1))
            for slot in slots
            for token, parent in _rows(searches[present[slot]], parents[slot], width, plan)
        ]
        if len(slots) < len(present):
            present = [present[slot] for slot in slots]
            run.keep(slots)
        held = width
        pause()
        logits = run.step([[token] for token, _ in rows], [0], [row for _, row in rows]).logits[:, 0]
    return [
        Found(hypothesis=search.best(), start_logprobs=start_logprobs[window]) for window, search in enumerate(searches)
    ]


def _advance(
    searches: Sequence[Search], logits: Floats, width: int, plan: SearchPlan, *, is_last: bool
) -> list[list[int]]:
    """Give each search its next tokens; for each the parents of its live hypotheses, none where it is done."""
    rules = plan.rules
    live = [
        search.live[min(number, len(search.live) - 1)] if search.live else None
        for search in searches
        for number in range(width)
    ]
    texts = [hypothesis.tokens if hypothesis else [] for hypothesis in live]
    suppress(logits, texts, rules)
    top = top_tokens(logits[:, : rules.vocabulary.first_timestamp], count_choices(plan.options))
    allowed = allowed_next(logits, top.values[:, 0], texts, rules)
    if plan.options.temperature > 0:
        drawn = [hypothesis.numbers[len(hypothesis.tokens)] if hypothesis else 0.0 for hypothesis in live]
        numbers = np.array(drawn, np.float32)
        best = sample_tokens(logits, top, allowed, rules, temperature=plan.options.temperature, numbers=numbers)
    else:
        best = best_tokens(top, allowed, rules)
    parents: list[list[int]] = []
    for slot, search in enumerate(searches):
        rows = slice(slot * width, slot * width + len(search.live))
        is_done = search.is_done
        parents.append(
            []
            if is_done
            else search.advance(best.tokens[rows], best.values[rows], rules.vocabulary.eot, is_last=is_last)
        )
    return parents


def _rows(search: Search, parents: Sequence[int], width: int, plan: SearchPlan) -> list[tuple[int, int]]:
    """The last token of each of a window's rows and the hypothesis that it continues."""
    if search.is_done:
        return [(plan.rules.vocabulary.eot, 0)] * width
    rows = [(hypothesis.tokens[-1], parent) for hypothesis, parent in zip(search.live, parents, strict=True)]
    return rows + [rows[-1]] * (width - len(rows))

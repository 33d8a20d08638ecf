"""Answers that are due: other threads wait for the device and warp the times of words, beside the steps."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

import math
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from auricle.engines.base import Ticket
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_rows import RowInside, Text
from auricle.engines.torch_slots import Late, SlotPool
from auricle.engines.torch_words import alignment_cost, find_places, text_logprobs, token_times
from auricle.types import Decoding

_MOST_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Words:
    """What is known of the text tokens when their row is done."""

    logprobs: tuple[float, ...] | Late
    cost: Late | None
    """See ``torch_words.alignment_cost``; None where nothing is to be aligned."""
    has_times: bool

    def add_to(self, decoding: Decoding) -> Decoding:
        """The decoding with what was wanted of its words."""
        logprobs = tuple(self.logprobs.read().tolist()) if isinstance(self.logprobs, Late) else self.logprobs
        if not self.has_times:
            return replace(decoding, token_logprobs=logprobs)
        return replace(
            decoding,
            token_logprobs=logprobs,
            token_times=() if self.cost is None else token_times(self.cost.read(), len(logprobs)),
            token_probabilities=tuple(math.exp(logprob) for logprob in logprobs),
        )


class Answers:
    """Makes the decodings of rows that are done; called by one thread."""

    def __init__(self, special: SpecialTokens, text_positions: int) -> None:
        self._special = special
        self._eot = special.vocabulary.eot
        self._text_positions = text_positions
        self._threads = ThreadPoolExecutor(max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2)))
        self._due: dict[Ticket, Future[Decoding]] = {}

    @property
    def are_due(self) -> bool:
        """Whether there are any that have not been taken."""
        return bool(self._due)

    def add_languages(self, row: RowInside, logits: Late) -> None:
        """``logits`` (vocabulary,) are what follows the start of transcript."""
        self._submit(row, lambda: Decoding(language_probabilities=self._special.rank_languages(logits.read())))

    def add(self, row: RowInside, pool: SlotPool) -> None:
        """``row`` is done; what is needed of its slots is on its way before they are used again."""
        text = row.text(self._eot)
        words = self._words(row, text, pool) if row.wants_words else None

        def decoding() -> Decoding:
            found = Decoding(
                tokens=text.tokens,
                # The end token counts, as in openai/whisper.
                avg_logprob=text.score / (len(text.tokens) + 1),
                no_speech_prob=row.no_speech_prob(),
                temperature=row.options.temperature,
            )
            return found if words is None else words.add_to(found)

        self._submit(row, decoding)

    def take(self, *, wait_for_one: bool) -> list[tuple[Ticket, Decoding]]:
        """Those that are ready; with ``wait_for_one`` at least one, where any is due."""
        if wait_for_one and self._due:
            wait(self._due.values(), return_when=FIRST_COMPLETED)
        ready = [ticket for ticket, future in self._due.items() if future.done()]
        return [(ticket, self._due.pop(ticket).result()) for ticket in ready]

    def drop(self, tickets: Collection[Ticket]) -> None:
        """Let these go."""
        for ticket in tickets:
            self._due.pop(ticket, None)

    def clear(self) -> None:
        """Let all go."""
        self._due.clear()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _submit(self, row: RowInside, make: Callable[[], Decoding]) -> None:
        self._due[row.ticket] = self._threads.submit(make)

    def _words(self, row: RowInside, text: Text, pool: SlotPool) -> _Words:
        has_times = row.options.word_timestamps
        spoken = [token for token in text.tokens if token < self._eot]
        if not spoken:
            return _Words(logprobs=(), cost=None, has_times=has_times)
        if text.logprobs is None:
            return self._force(row, spoken, pool, has_times=has_times)
        cost = None
        if has_times:
            places = find_places(row.start, len(row.prompt), text.tokens, text.steps, self._eot)
            queries = pool.queries[text.slot].index_select(0, pool.rules.index(places.all))
            cost = Late(alignment_cost(queries, pool.alignment_keys(text.slot, row.heard_positions), places.text))
        return _Words(logprobs=text.logprobs, cost=cost, has_times=has_times)

    def _force(self, row: RowInside, spoken: Sequence[int], pool: SlotPool, *, has_times: bool) -> _Words:
        """By one more step of the decoder, of all tokens at once: beams leave nothing behind that could be kept."""
        start = self._special.before_text(row.prompt, row.options)
        # Past the decoder's context nothing can be aligned.
        spoken = spoken[: self._text_positions - len(start) - 1]
        before, slot = len(start) - 1, row.slots[0]
        logits, queries = pool.force(slot, [*start, *spoken, self._eot], slice(before, before + len(spoken)))
        tokens = pool.rules.index(spoken)
        cost = None
        if has_times:
            keys = pool.alignment_keys(slot, row.heard_positions)
            cost = Late(alignment_cost(queries, keys, slice(before, -1)))
        return _Words(logprobs=Late(text_logprobs(logits, tokens, self._eot)), cost=cost, has_times=has_times)

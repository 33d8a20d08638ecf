"""Whisper's decoding rules on the device: what ``rules.py`` says, for the slots of a pool at once.

Every slot has rules of its own and is at a place of its own. All that a step needs is in tensors that stay where they
are, and nothing waits for the host, so that a step can be a CUDA graph. Only the repetition penalty and the n-gram ban
lie outside of it, for the slots that ask for them.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.engines.rules import Rules
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_features import send

NEVER = -math.inf
_COLDEST = 1e-4
_ROOM = 128
"""Suppressed tokens of a slot that there are places for at first; Whisper's own list has about 90."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stand:
    """What a slot's hypothesis obeys, and how far it is."""

    prompt: Sequence[int]
    rules: Rules
    limit: int
    """Most tokens of the text."""
    text: Sequence[int] = ()
    temperature: float = 0.0
    randoms: NDArray[np.float32] | None = None
    """(limit,): a number from 0 to 1 for each token that is drawn."""
    is_driven: bool = False
    """Whether the host chooses its tokens, as beam search does."""

    def numbers(self) -> list[int]:
        """In the order of the tensors of ``SlotRules``."""
        begin = self.rules.vocabulary.first_timestamp
        # What comes before the text counts as timestamps: the first one then opens a segment.
        stamps = [True, True, *(token >= begin for token in self.text)]
        return [
            self.text[-1] if self.text else self.prompt[-1],
            len(self.prompt) - 1 + len(self.text),
            len(self.text),
            next((token for token in reversed(self.text) if token >= begin), begin - 1),
            int(stamps[-1]),
            int(stamps[-2]),
            int(self.rules.timestamps),
            self.rules.max_initial,
            self.limit,
            int(not self.is_driven),
        ]


class SlotRules:
    """The rules of all slots, and how far each is. Methods that take rows of n slots mean the first n.

    ``token``, ``position`` (slots,) are what the decoder takes next, and its place. ``active`` is 1 where a text goes
    on by itself; the others stay as they are.
    """

    def __init__(self, special: SpecialTokens, slots: int, text_positions: int, device: torch.device) -> None:
        self._special = special
        self._device = device
        self._text_positions = text_positions
        self._numbers = torch.zeros((10, slots), dtype=torch.int64, device=device)
        (
            self.token,
            self.position,
            self._count,
            self._last_stamp,
            self._last_is_stamp,
            self._before_is_stamp,
            self._timestamps,
            self._max_initial,
            self._limit,
            self.active,
        ) = self._numbers.unbind()
        self._texts = torch.zeros((slots, text_positions), dtype=torch.int64, device=device)
        self._randoms = torch.zeros((slots, text_positions), device=device)
        self._temperature = torch.zeros(slots, device=device)
        self._suppressed = torch.full((slots, _ROOM), special.no_timestamps, device=device)
        self._suppressed_first = torch.tensor(special.suppressed_first, dtype=torch.int64, device=device)
        words = special.vocabulary
        self._stamps = torch.arange(words.first_timestamp, words.size, device=device)
        # A number in torch.where would be sent to the device each time, which no graph allows.
        self._begin = torch.full((1,), words.first_timestamp, device=device)
        self._end = torch.full((1,), words.size, device=device)
        self._nothing = torch.zeros(1, device=device)
        self._never = torch.full((1,), NEVER, device=device)

    def index(self, numbers: Iterable[int]) -> Tensor:
        """Numbers, of slots or tokens, on the device."""
        return self._send(np.fromiter(numbers, np.int64))

    def put(self, stands: Mapping[int, Stand]) -> None:
        """Fill slots."""
        slots = self.index(stands)
        numbers = np.array([stand.numbers() for stand in stands.values()], np.int64)
        self._numbers.index_copy_(1, slots, self._send(numbers).T)
        temperatures = np.array([stand.temperature for stand in stands.values()], np.float32)
        self._temperature.index_copy_(0, slots, self._send(temperatures))
        for slot, stand in stands.items():
            if stand.text:
                self._texts[slot, : len(stand.text)] = self.index(stand.text)
            if stand.randoms is not None:
                self._randoms[slot, : len(stand.randoms)] = self._send(stand.randoms)

    def put_suppressed(self, slots: Sequence[int], tokens: Sequence[int]) -> bool:
        """The tokens that never come in ``slots``; whether a larger tensor was needed for them."""
        # No-timestamps is never among the text, and fills what is left of a row.
        filler = self._special.no_timestamps
        held, width = self._suppressed.shape
        lacking = len(tokens) - width
        if lacking > 0:
            more = torch.full((held, lacking), filler, device=self._device)
            self._suppressed = torch.cat([self._suppressed, more], 1)
        row = self.index([*tokens, *[filler] * (-lacking)])
        self._suppressed.index_copy_(0, self.index(slots), row.expand(len(slots), -1))
        return lacking > 0

    def free(self, slots: Sequence[int]) -> None:
        """Nobody is in ``slots``: the decoder is given a token at the first place, and what follows is ignored."""
        self._numbers.index_fill_(1, self.index(slots), 0)

    def copy(self, source: int, target: int) -> None:
        """Have ``target`` obey what ``source`` does, and be as far."""
        for held in (self._texts, self._randoms, self._temperature, self._suppressed, self._numbers.T):
            held[target] = held[source]

    def penalise(self, logits: Tensor, slot: int, rules: Rules) -> None:
        """The repetition penalty and the n-gram ban on a slot's own ``logits`` (size,), in place."""
        text, count = self._texts[slot], self._count[slot]
        places = torch.arange(self._text_positions, device=self._device)
        if rules.repetition_penalty != 1.0:
            # Places past the text repeat its first token, which does nothing where there is none.
            said = torch.where(places < count, text, text[0])
            penalty = torch.where(count > 0, rules.repetition_penalty, 1.0)
            values = logits[said]
            logits.scatter_(0, said, torch.where(values < 0, values * penalty, values / penalty))
        length = rules.no_repeat_ngram_size
        if 0 < length <= self._text_positions:
            grams = text.unfold(0, length, 1)
            begun = text[(count - length + 1 + places[: length - 1]).clamp(min=0)]
            is_again = (grams[:, :-1] == begun).all(1) & (places[: len(grams)] <= count - length)
            logits.scatter_add_(0, grams[:, -1].contiguous(), torch.where(is_again, self._never, self._nothing))

    def allow(self, logits: Tensor) -> Tensor:
        """Make NEVER of what may not follow in ``logits`` (n, size), in place.

        Returns log of the sum of exponentials of the rest, (n,). Where nothing may follow, the text ends.
        """
        n, words = len(logits), self._special.vocabulary
        logits.scatter_(1, self._suppressed[:n], NEVER)
        is_fresh = self._count[:n] == 0
        if len(self._suppressed_first):
            first = logits.index_select(1, self._suppressed_first)
            logits.index_copy_(1, self._suppressed_first, first.masked_fill_(is_fresh[:, None], NEVER))
        is_free = self._timestamps[:n] == 0
        is_stamp, was_stamp = self._last_is_stamp[:n] > 0, self._before_is_stamp[:n] > 0
        is_closed = is_stamp & ~was_stamp & ~is_fresh
        is_open = is_stamp & was_stamp & ~is_fresh
        may_text = is_free | ~(is_fresh | is_closed)
        may_end = is_free | ~is_fresh
        last = self._last_stamp[:n]
        low = torch.where(is_open, self._end, torch.where(is_closed, last, last + 1))
        low = torch.where(is_free | is_fresh, self._begin, low)
        high = torch.where(is_fresh & ~is_free, self._begin + self._max_initial[:n] + 1, self._end)

        text, end = logits[:, : words.eot], logits[:, words.eot : words.first_timestamp]
        stamps = logits[:, words.first_timestamp :]
        stamps.masked_fill_((self._stamps < low[:, None]) | (self._stamps >= high[:, None]), NEVER)
        best = torch.maximum(text.amax(1) + self._bar(may_text), end.amax(1) + self._bar(may_end))
        # Timestamps that are likelier together than any other token win.
        may_else = is_free | (stamps.logsumexp(1) <= best)
        text.add_(self._bar(may_text & may_else)[:, None])
        end.add_(self._bar(may_end & may_else)[:, None])
        mass = logits.logsumexp(1)
        is_stuck = mass == NEVER
        logits[:, words.eot].masked_fill_(is_stuck, 0.0)
        return mass.masked_fill_(is_stuck, 0.0)

    def choose(self, logits: Tensor, mass: Tensor, *, is_hot: bool) -> tuple[Tensor, Tensor]:
        """The next tokens (n,) of what ``allow`` left, and their log-probabilities at temperature 1: the likeliest, or
        drawn ones where the temperature is above 0. ``is_hot`` tells whether there are such slots.
        """
        n, size = logits.shape
        tokens = logits.argmax(1)
        if is_hot:
            temperature = self._temperature[:n]
            odds = (logits / temperature.clamp(min=_COLDEST)[:, None]).softmax(1).cumsum(1)
            place = self._count[:n, None].clamp(max=self._text_positions - 1)
            wanted = self._randoms[:n].gather(1, place) * odds[:, -1:]
            drawn = torch.searchsorted(odds, wanted, right=True).clamp(max=size - 1)
            # Where sums were rounded, what may not follow could be met.
            is_drawn = (temperature > 0) & (logits.gather(1, drawn)[:, 0] > NEVER)
            tokens = torch.where(is_drawn, drawn[:, 0], tokens)
        return tokens, logits.gather(1, tokens[:, None])[:, 0] - mass

    def advance(self, tokens: Tensor) -> None:
        """Add ``tokens`` (n,) to the texts that are active; one that ends, or has no room left, is so no longer."""
        n, words = len(tokens), self._special.vocabulary
        count = self._count[:n]
        taken = (self.active[:n] > 0) & (tokens != words.eot)
        is_stamp = tokens >= words.first_timestamp
        place = count[:, None].clamp(max=self._text_positions - 1)
        texts = self._texts[:n]
        texts.scatter_(1, place, torch.where(taken[:, None], tokens[:, None], texts.gather(1, place)))
        last_is_stamp = self._last_is_stamp[:n]
        _set(self._before_is_stamp[:n], taken, last_is_stamp)
        _set(last_is_stamp, taken, is_stamp.long())
        _set(self._last_stamp[:n], taken & is_stamp, tokens)
        count.add_(taken)
        left = taken & (count < self._limit[:n])
        self.active[:n].copy_(left)
        _set(self.token[:n], left, tokens)
        self.position[:n].add_(left)

    def _bar(self, may: Tensor) -> Tensor:
        """0 where ``may``, else NEVER."""
        return torch.where(may, self._nothing, self._never)

    def _send(self, array: NDArray[np.generic]) -> Tensor:
        return send(torch.from_numpy(array), self._device)


def _set(target: Tensor, where: Tensor, values: Tensor) -> None:
    """Overwrite what lies at ``where``, in place."""
    target.copy_(torch.where(where, values, target))

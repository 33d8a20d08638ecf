"""Rows inside the slot pool, as the host sees them: which slots are theirs, and what has come of them so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auricle.engines.base import Ticket
from auricle.engines.draws import draw_numbers
from auricle.engines.rules import Rules
from auricle.engines.search import Beams
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_rules import Stand
from auricle.engines.torch_slots import GOES_ON, TEXT_VALUE, TOKEN, VALUE, Late
from auricle.types import DecodingOptions, Row

Floats = NDArray[np.float32]


@dataclass(slots=True, kw_only=True, eq=False)
class Track:
    """A hypothesis that is decoded on the device: a greedy row, or one of a row's samples."""

    slot: int
    reports: list[Floats] = field(default_factory=list[Floats])
    """(4,) of each step, see ``torch_slots.TOKEN``."""
    is_done: bool = False

    def take(self, report: Floats) -> None:
        """The next step's; what comes after the last one is of this hypothesis no more."""
        if not self.is_done:
            self.reports.append(report)
            self.is_done = bool(report[GOES_ON] == 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A hypothesis that is finished."""

    tokens: tuple[int, ...]
    score: float
    """Sum of log-probabilities, that of the end included."""
    logprobs: tuple[float, ...] | None = None
    """Of each text token among text; None where they were not kept."""
    slot: int = -1
    """Where the queries were kept."""
    steps: int = 0
    """That were done for it."""


@dataclass(slots=True, kw_only=True, eq=False)
class RowInside:
    """A row with its slots."""

    ticket: Ticket
    row: Row
    slots: list[int]
    """Of beams, those of the live hypotheses come first, in their order."""
    prompt: tuple[int, ...]
    """As much of the row's own as there are places for."""
    start: int
    """Where the start of transcript is."""
    rules: Rules
    limit: int
    """Most tokens of the text."""
    tracks: list[Track] = field(default_factory=list[Track])
    beams: Beams | None = None
    heard: tuple[Late, int] | None = None
    """Log-probability of no speech of several rows, and which is this one's."""
    steps: int = 0
    """That were started."""
    has_left: bool = False

    @property
    def key(self) -> str:
        return self.row.key

    @property
    def options(self) -> DecodingOptions:
        return self.row.options

    @property
    def positions(self) -> int:
        """Of its window, as the decoder sees it."""
        return self.options.context_frames // 2

    @property
    def heard_positions(self) -> int:
        """Of its window, as far as there is audio."""
        return max(1, min(self.row.features.shape[1], self.options.context_frames) // 2)

    @property
    def length(self) -> int:
        """Places that its next step looks at."""
        return len(self.prompt) + self.steps

    @property
    def is_penalised(self) -> bool:
        return self.rules.repetition_penalty != 1.0 or self.rules.no_repeat_ngram_size > 0

    @property
    def wants_words(self) -> bool:
        return self.options.word_timestamps or self.options.logprobs

    @property
    def is_done(self) -> bool:
        return all(track.is_done for track in self.tracks) if self.beams is None else self.beams.is_done

    def no_speech_prob(self) -> float:
        """Waits for it."""
        if self.heard is None:
            return 0.0
        logprobs, place = self.heard
        return math.exp(float(logprobs.read()[place]))

    def begin(self) -> dict[int, Stand]:
        """How its slots are to be filled when the prompt has been taken."""
        options = self.options
        if options.temperature == 0 and options.beam_size > 1:
            self.beams = Beams(
                width=options.beam_size, patience=options.patience, length_penalty=options.length_penalty
            )
            return self.beam_stands(self.beams)
        self.tracks = [Track(slot=slot) for slot in self.slots]
        count = len(self.slots)
        drawn = draw_numbers(self.row, count, self.limit) if options.temperature > 0 else [None] * count
        return {
            slot: Stand(
                prompt=self.prompt,
                rules=self.rules,
                limit=self.limit,
                temperature=options.temperature,
                randoms=randoms,
            )
            for slot, randoms in zip(self.slots, drawn, strict=True)
        }

    def beam_stands(self, beams: Beams) -> dict[int, Stand]:
        """How the slots of the live hypotheses are to be filled for the next step."""
        return {
            slot: Stand(prompt=self.prompt, rules=self.rules, limit=self.limit, text=live.tokens, is_driven=True)
            for slot, live in zip(self.slots, beams.live, strict=False)
        }

    def follow(self, parents: Sequence[int]) -> list[tuple[int, int]]:
        """Give slots to the hypotheses that continue the earlier ones ``parents``: the first of a parent's stays in its
        slot. Returns from which slot to which the others must be copied.
        """
        left = dict.fromkeys(self.slots)
        seats: list[int | None] = []
        for parent in parents:
            slot = self.slots[parent]
            seats.append(slot if slot in left else None)
            left.pop(slot, None)
        rest = iter(left)
        seated = [next(rest) if seat is None else seat for seat in seats]
        moves = [
            (self.slots[parent], slot)
            for parent, slot, seat in zip(parents, seated, seats, strict=True)
            if seat is None
        ]
        self.slots = [*seated, *rest]
        return moves

    def move(self, source: int, target: int) -> None:
        """It sits in ``target`` instead of ``source`` now."""
        self.slots[self.slots.index(source)] = target
        for track in self.tracks:
            if track.slot == source:
                track.slot = target

    def text(self, eot: int) -> Text:
        """The best of its hypotheses, when it is done."""
        if self.beams is not None:
            found = self.beams.best()
            return Text(tokens=tuple(found.tokens), score=found.score)
        texts = [_read(track, eot) for track in self.tracks]
        return max(texts, key=lambda text: text.score / max(1, len(text.tokens)) ** self.options.length_penalty)


def seat_row(ticket: Ticket, row: Row, slots: list[int], special: SpecialTokens, text_positions: int) -> RowInside:
    """A row that has been given ``slots``."""
    prompt = (special.sot,) if row.options.task == "detect_language" else row.prompt[-text_positions:]
    return RowInside(
        ticket=ticket,
        row=row,
        slots=slots,
        prompt=prompt,
        start=prompt.index(special.sot),
        rules=special.rules(row.options),
        limit=max(1, min(text_positions - len(prompt), row.options.max_new_tokens or text_positions)),
    )


def _read(track: Track, eot: int) -> Text:
    reports = np.stack(track.reports)
    tokens: list[int] = reports[:, TOKEN].astype(np.int64).tolist()
    if tokens[-1] == eot:
        tokens.pop()
    logprobs: list[float] = reports[: len(tokens), TEXT_VALUE].tolist()
    return Text(
        tokens=tuple(tokens),
        score=float(reports[:, VALUE].sum(dtype=np.float64)),
        logprobs=tuple(logprob for token, logprob in zip(tokens, logprobs, strict=True) if token < eot),
        slot=track.slot,
        steps=len(reports),
    )

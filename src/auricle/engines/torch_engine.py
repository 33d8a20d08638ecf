"""Whisper on PyTorch (CUDA, Apple's GPU, CPU): rows join and leave at any step, whatever they ask for.

A row's window is encoded, its prompt is taken into a slot, and from then on it shares the steps of all others until its
text ends. On CUDA windows are encoded on a stream of their own beside these steps, and a step is started before the
host has looked at what the last one gave: a row that is done decodes one token too many, which nobody sees. Elsewhere
one window is encoded between two steps, so that no row waits longer than for that.

A row of beams takes a slot for each. The host searches, so every step waits for it while such rows are inside.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections import deque
from collections.abc import Sequence

import torch

from auricle.engines.base import EngineConfig, Ticket, slots_of
from auricle.engines.search import Beams, count_choices
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_answers import Answers
from auricle.engines.torch_load import LoadedWhisper, load_torch
from auricle.engines.torch_rows import RowInside, Track, seat_row
from auricle.engines.torch_seats import Seats
from auricle.engines.torch_slots import Late, SlotPool, StepSize
from auricle.engines.torch_windows import Windows
from auricle.errors import EngineOutOfMemory
from auricle.types import Decoding, ModelInfo, Row

_LEAST_SLOTS = 5
"""Those of one row as it is searched by default."""


def load(config: EngineConfig) -> "TorchEngine":
    """Load the model of ``config``; raises what ``torch_load.load_torch`` does."""
    return TorchEngine(load_torch(config), config)


class TorchEngine:
    """See ``engines.base.SlotEngine``."""

    @torch.inference_mode()
    def __init__(self, loaded: LoadedWhisper, config: EngineConfig) -> None:
        if loaded.device.type == "cuda":
            # Events, pinned memory and graphs are those of the present device.
            torch.cuda.set_device(loaded.device)
        self._loaded = loaded
        self._name = config.model_name
        self._special = SpecialTokens.of(loaded.checkpoint)
        self._looks_late = loaded.device.type == "cuda"
        self._answers = Answers(self._special, loaded.model.shape.text_positions)
        self._open(max(loaded.slots, _LEAST_SLOTS))
        self._waiting: list[RowInside] = []
        """Rows that have slots, but whose windows are not there yet."""
        self._inside: list[RowInside] = []
        self._unseen: deque[tuple[Late, list[tuple[RowInside, Track, int]]]] = deque()
        """Reports of steps that the host has not looked at, and whose slots are in them."""

    @property
    def info(self) -> ModelInfo:
        """What the model is; ``max_batch`` shrinks where memory did not suffice."""
        loaded, shape = self._loaded, self._loaded.model.shape
        multilingual = bool(self._special.language_ids)
        return ModelInfo(
            name=self._name,
            engine="torch",
            device=loaded.device.type,
            compute_type=loaded.compute_type,
            n_mels=shape.n_mels,
            is_multilingual=multilingual,
            # Turbo and the distilled models have a pruned decoder that was never trained to translate.
            can_translate=multilingual and shape.decoder_layers * 2 > shape.encoder_layers,
            max_batch=self._pool.slots,
            joins=True,
            wants_samples=loaded.device.type != "cpu",
            batch_by=(),
            details={"torch": torch.__version__, "encoder_layers": str(shape.encoder_layers)},
        )

    @property
    def is_empty(self) -> bool:
        """See ``engines.base.SlotEngine``."""
        return not (self._waiting or self._inside or self._answers.are_due)

    @property
    def slots_used(self) -> int:
        """See ``engines.base.SlotEngine``."""
        return self._seats.taken

    def join(self, waiting: Sequence[tuple[Ticket, Row]]) -> int:
        """See ``engines.base.SlotEngine``."""
        for joined, (ticket, row) in enumerate(waiting):
            count = slots_of(row.options)
            if count > self._pool.slots and joined == 0:
                raise EngineOutOfMemory(
                    f"the row needs {count} slots, one for each beam or sample, but there are {self._pool.slots}; "
                    "ask for fewer beams, or for more slots (max_batch)"
                )
            slots = self._seats.take(count, row.key)
            if not slots:
                return joined
            self._waiting.append(seat_row(ticket, row, slots, self._special, self._loaded.model.shape.text_positions))
        return len(waiting)

    @torch.inference_mode()
    def step(self) -> list[tuple[Ticket, Decoding]]:
        """See ``engines.base.SlotEngine``."""
        try:
            if self._waiting:
                self._let_in()
            if self._inside:
                self._decode()
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            self._shrink()
            raise EngineOutOfMemory(
                f"the memory of {self._loaded.device} did not suffice for the rows inside; "
                f"from now on there are {self._pool.slots} slots"
            ) from error
        return self._answers.take(wait_for_one=not (self._inside or self._waiting))

    @torch.inference_mode()
    def drop(self, tickets: Sequence[Ticket]) -> None:
        """See ``engines.base.SlotEngine``."""
        gone = set(tickets)
        for row in [row for row in (*self._waiting, *self._inside) if row.ticket in gone]:
            self._leave(row)
        self._answers.drop(gone)

    def clear(self) -> None:
        """See ``engines.base.SlotEngine``."""
        self.drop([row.ticket for row in (*self._waiting, *self._inside)])
        self._answers.clear()
        self._unseen.clear()

    def close(self) -> None:
        """See ``engines.base.SlotEngine``."""
        self.clear()
        self._answers.close()

    def _open(self, slots: int) -> None:
        loaded = self._loaded
        self._pool = SlotPool(loaded.model, self._special, slots, loaded.dtype, loaded.device)
        self._seats = Seats(slots)
        self._windows = Windows(loaded, self._pool, self._seats)

    def _let_in(self) -> None:
        """Rows whose windows have arrived take their prompts and begin."""
        rows = self._windows.bring(self._waiting, wait=not self._inside)
        if not rows:
            return
        self._waiting = [row for row in self._waiting if row not in rows]
        logits = self._pool.prefill(
            [row.slots[0] for row in rows],
            # The last token is for the first step; what follows the start of transcript is looked at here.
            [row.prompt[: max(row.start + 1, len(row.prompt) - 1)] for row in rows],
            [row.start for row in rows],
            context=max(row.positions for row in rows),
        )
        heard = Late(logits.log_softmax(1)[:, self._special.no_speech])
        for place, row in enumerate(rows):
            if row.options.task == "detect_language":
                self._answers.add_languages(row, Late(logits[place]))
                self._leave(row)
            else:
                row.heard = (heard, place)
                self._begin(row)

    def _begin(self, row: RowInside) -> None:
        stands = row.begin()
        first, *others = row.slots
        if row.tracks and others:
            self._pool.branch([first] * len(others), others, len(row.prompt))
        self._pool.forbid(row.slots, row.rules.suppressed)
        self._pool.put(stands)
        self._inside.append(row)

    def _decode(self) -> None:
        """Start a step of all rows inside, and look at what the one before gave, where the host looks late."""
        self._tighten()
        rows = list(self._inside)
        penalised = {slot: row.rules for row in rows if row.is_penalised for slot in row.slots}
        report = self._pool.step(_size_of(rows), penalised)
        self._unseen.append((report, [(row, track, track.slot) for row in rows for track in row.tracks]))
        for row in rows:
            row.steps += 1
            if row.beams is not None:
                self._search(row, row.beams)
        while len(self._unseen) > self._looks_late:
            self._look()
        if not self._inside:
            self._unseen.clear()

    def _look(self) -> None:
        report, seen = self._unseen.popleft()
        found = report.read()
        for _, track, slot in seen:
            track.take(found[:, slot])
        for row in dict.fromkeys(row for row, _, _ in seen):
            if row.is_done and not row.has_left:
                self._finish(row)

    def _search(self, row: RowInside, beams: Beams) -> None:
        """Choose the next tokens of the beams from what the step gave."""
        tokens, values = self._pool.best(row.slots[: len(beams.live)], count_choices(row.options))
        parents = beams.advance(tokens, values, self._special.vocabulary.eot, is_last=row.steps >= row.limit)
        if beams.is_done:
            self._finish(row)
            return
        moves = row.follow(parents)
        if moves:
            self._pool.branch([source for source, _ in moves], [target for _, target in moves], row.length)
        self._pool.put(row.beam_stands(beams))

    def _finish(self, row: RowInside) -> None:
        self._answers.add(row, self._pool)
        self._leave(row)

    def _leave(self, row: RowInside) -> None:
        row.has_left = True
        for rows in (self._waiting, self._inside):
            if row in rows:
                rows.remove(row)
        self._pool.free(row.slots)
        self._seats.free(row.slots)

    def _tighten(self) -> None:
        """Where steps do more slots than there are rows for, have the row in the last one move up."""
        move = self._seats.next_move(self._pool.width_of)
        row = None if move is None else next((row for row in self._inside if move[0] in row.slots), None)
        if move is not None and row is not None:
            source, target = move
            self._pool.move(source, target, length=row.length, context=row.positions)
            self._seats.move(source, target)
            row.move(source, target)

    def _shrink(self) -> None:
        """Begin anew with half of the slots, or with fewer still."""
        slots = self._pool.slots
        self.clear()
        del self._pool, self._windows
        while True:
            slots = max(1, slots // 2)
            if self._loaded.device.type == "cuda":
                torch.cuda.empty_cache()
            try:
                self._open(slots)
            except (RuntimeError, MemoryError) as error:
                if slots > 1 and _is_out_of_memory(error):
                    continue
                raise
            return


def _size_of(rows: Sequence[RowInside]) -> StepSize:
    contexts = {row.positions for row in rows}
    return StepSize(
        slots=1 + max(slot for row in rows for slot in row.slots),
        length=max(row.length for row in rows),
        context=max(contexts),
        is_short=len(contexts) > 1,
        is_hot=any(row.options.temperature > 0 for row in rows),
        has_words=any(row.wants_words for row in rows),
    )


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch has a class for CUDA's only; a processor's and Apple's are told by their text."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text

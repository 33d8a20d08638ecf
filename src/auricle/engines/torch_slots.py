"""The slots of the decoder: their memory, their rules, and the step that all of them take together.

A row has one slot, or one for each of its samples or beams. A step is done by the first n slots, so rows are seated
from the first slot on (``torch_seats``). On CUDA a step is two graphs, whose sizes are rounded up to a few.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.engines.rules import Rules
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_features import send
from auricle.engines.torch_graphs import Graphs
from auricle.engines.torch_model import SlotCache, Whisper
from auricle.engines.torch_rules import SlotRules, Stand
from auricle.engines.torch_words import text_logprobs

Floats = NDArray[np.float32]

TOKEN, VALUE, TEXT_VALUE, GOES_ON = range(4)
"""Of each slot in the report of a step: its token; the log-probability of that among all that may follow; and among
the text tokens, as the network gave it; whether the slot's text goes on."""
_WIDTHS = (1, 2, 4, 8, 16, 32, 64, 96, 128)
_LENGTHS = (64, 128, 256, 448)
_CONTEXTS = (384, 768, 1500)
"""Sizes of steps that are graphs: slots, own places, places of the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSize:
    """What a step has to reach."""

    slots: int
    """From the first on."""
    length: int
    """Own places."""
    context: int
    """Places of the longest window."""
    is_short: bool
    """Whether others are shorter."""
    is_hot: bool
    """Whether there are slots above temperature 0."""
    has_words: bool
    """Whether the log-probabilities among text are wanted."""


class Late:
    """An array that the device sends when it has done what it was told before; the host need not wait for it yet."""

    def __init__(self, tensor: Tensor) -> None:
        self._event = None
        if tensor.is_cuda:
            self._here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._here.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            # A copy, since the next step writes to the same place.
            self._here = tensor.to("cpu", copy=True)

    def read(self) -> Floats:
        """Wait for it."""
        if self._event is not None:
            self._event.synchronize()
        return self._here.numpy()


class SlotPool:
    """``slots`` slots of ``model``. All is called under ``torch.inference_mode``, and in the order of one stream."""

    def __init__(
        self, model: Whisper, special: SpecialTokens, slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape, heads = model.shape, model.alignment_heads
        places = shape.text_positions
        self.slots = slots
        self.rules = SlotRules(special, slots, places, device)
        self.queries = torch.zeros((slots, places, len(heads), shape.head_size), dtype=dtype, device=device)
        """Of the alignment heads, not scaled, at each place of a slot."""
        self._cache = SlotCache.allocate(shape, slots, dtype, device)
        self._model = model
        self._device = device
        self._eot = special.vocabulary.eot
        self._graphs = Graphs(device)
        self._rounds_up = device.type == "cuda"
        """Whether steps are of a few sizes only, since each is a graph."""
        self._head_layers = torch.tensor([layer for layer, _ in heads], device=device)
        self._heads = torch.tensor([head for _, head in heads], device=device)
        self._first_places = torch.arange(slots, device=device) * places
        self._forbidden: list[tuple[int, ...]] = [()] * slots
        self._logits = torch.zeros((slots, shape.vocabulary), device=device)
        """As the network gives them; beside them what the rules make of them."""
        self._allowed = torch.zeros((slots, shape.vocabulary), device=device)
        self._mass = torch.zeros(slots, device=device)
        self._report = torch.zeros((4, slots), device=device)

    def width_of(self, slots: int) -> int:
        """How many slots a step does where the first ``slots`` are needed."""
        return min(_round_up(slots, _WIDTHS), self.slots) if self._rounds_up else slots

    def put_window(self, slots: Sequence[int], keys: Tensor, values: Tensor) -> None:
        """Put one window, ``Whisper.cross`` of it (layers, 1, heads, positions, size), into ``slots``."""
        index = self.rules.index(slots)
        self._cache.put_cross(index, *(part.expand(-1, len(slots), -1, -1, -1) for part in (keys, values)))

    def copy_window(self, source: int, targets: Sequence[int], context: int) -> None:
        """Give ``targets`` the window of ``source``, which has ``context`` positions."""
        held = (self._cache.cross_keys, self._cache.cross_values)
        keys, values = (part[:, source : source + 1, :, :context] for part in held)
        self.put_window(targets, keys, values)

    def prefill(
        self, slots: Sequence[int], prompts: Sequence[Sequence[int]], starts: Sequence[int], *, context: int
    ) -> Tensor:
        """Take ``prompts`` into ``slots``; logits (n, vocabulary) of what follows the places ``starts`` of them.

        Shorter prompts are padded: a row's steps overwrite that before they look there.
        """
        width = max(len(prompt) for prompt in prompts)
        tokens = np.zeros((len(prompts), width), np.int64)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        hidden, queries = self._take(slots, tokens, context=context)
        self.queries[:, :width].index_copy_(0, self.rules.index(slots), queries)
        rows = torch.arange(len(prompts), device=self._device)
        return self._model.logits(hidden[rows, self.rules.index(starts)])

    def force(self, slot: int, tokens: Sequence[int], wanted: slice) -> tuple[Tensor, Tensor]:
        """Take ``tokens`` in place of all that ``slot`` has: logits at ``wanted``, queries (L, A, size) at all."""
        hidden, queries = self._take([slot], np.array([tokens], np.int64), context=None)
        return self._model.logits(hidden[0, wanted]), queries[0]

    def forbid(self, slots: Sequence[int], tokens: Sequence[int]) -> None:
        """The tokens that never come in ``slots``."""
        asked = tuple(tokens)
        changed = [slot for slot in slots if self._forbidden[slot] != asked]
        if changed and self.rules.put_suppressed(changed, asked):
            self._graphs.clear()
        for slot in changed:
            self._forbidden[slot] = asked

    def put(self, stands: Mapping[int, Stand]) -> None:
        """Have slots begin, or go on, as ``stands`` say."""
        self.rules.put(stands)

    def free(self, slots: Sequence[int]) -> None:
        """Nobody needs what ``slots`` do any more; their windows stay."""
        self.rules.free(slots)

    def step(self, size: StepSize, penalised: Mapping[int, Rules]) -> Late:
        """The next token of every slot that is active; the report is (4, slots), see ``TOKEN``.

        ``penalised`` are the slots with a repetition penalty or an n-gram ban.
        """
        n, length, context = self.width_of(size.slots), size.length, size.context
        if self._rounds_up:
            length = min(_round_up(length, _LENGTHS), self._model.shape.text_positions)
            context = min(_round_up(context, _CONTEXTS), self._model.shape.audio_positions)
        is_short = size.is_short or context > size.context
        self._graphs.run(
            ("decode", n, length, context, is_short),
            lambda: self._decode(n, length=length, context=context, is_short=is_short),
        )
        for slot, rules in penalised.items():
            self.rules.penalise(self._allowed[slot], slot, rules)
        self._graphs.run(
            ("choose", n, size.is_hot, size.has_words),
            lambda: self._choose(n, is_hot=size.is_hot, has_words=size.has_words),
        )
        return Late(self._report)

    def best(self, slots: Sequence[int], count: int) -> tuple[NDArray[np.int64], Floats]:
        """The likeliest tokens of ``slots`` after a step and their log-probabilities, (n, count); waits for it."""
        index = self.rules.index(slots)
        values, tokens = self._allowed.index_select(0, index).topk(count)
        values -= self._mass.index_select(0, index)[:, None]
        return tokens.cpu().numpy(), values.cpu().numpy()

    def branch(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Have ``targets`` go on from the first ``length`` places of ``sources``, of the same window."""
        source, target = self.rules.index(sources), self.rules.index(targets)
        self._cache.copy_self(source, target, length)
        held = self.queries[:, :length]
        held.index_copy_(0, target, held.index_select(0, source))

    def move(self, source: int, target: int, *, length: int, context: int) -> None:
        """Let ``target`` go on from ``source`` in all it has: ``length`` places, and a window of ``context``."""
        self.branch([source], [target], length)
        self.copy_window(source, [target], context)
        self.rules.copy(source, target)
        self._forbidden[target] = self._forbidden[source]
        self.free([source])

    def alignment_keys(self, slot: int, positions: int) -> Tensor:
        """Keys (A, positions, size) of the alignment heads, of a slot's window."""
        return self._cache.cross_keys[:, slot, :, :positions][self._head_layers, self._heads]

    def _take(self, slots: Sequence[int], tokens: NDArray[np.int64], *, context: int | None) -> tuple[Tensor, Tensor]:
        """``tokens`` (n, t) from the first place of ``slots`` on; see ``Whisper.step``."""
        n, width = tokens.shape
        return self._model.step(
            send(torch.from_numpy(tokens), self._device),
            torch.arange(width, device=self._device).expand(n, -1),
            self._cache,
            self.rules.index(slots),
            length=width,
            context=context,
            short=True,
        )

    def _decode(self, n: int, *, length: int, context: int, is_short: bool) -> None:
        places = self.rules.position[:n]
        hidden, queries = self._model.step(
            self.rules.token[:n, None], places[:, None], self._cache, length=length, context=context, short=is_short
        )
        self.queries.flatten(0, 1).index_copy_(0, self._first_places[:n] + places, queries[:, 0])
        logits = self._model.logits(hidden[:, 0])
        self._logits[:n].copy_(logits)
        self._allowed[:n].copy_(logits)

    def _choose(self, n: int, *, is_hot: bool, has_words: bool) -> None:
        allowed, rules, report = self._allowed[:n], self.rules, self._report
        mass = rules.allow(allowed)
        self._mass[:n].copy_(mass)
        tokens, values = rules.choose(allowed, mass, is_hot=is_hot)
        report[TOKEN, :n].copy_(tokens)
        report[VALUE, :n].copy_(values)
        if has_words:
            report[TEXT_VALUE, :n].copy_(text_logprobs(self._logits[:n], tokens, self._eot))
        rules.advance(tokens)
        report[GOES_ON, :n].copy_(rules.active[:n])


def _round_up(wanted: int, sizes: Sequence[int]) -> int:
    """The smallest of ``sizes`` that is enough; what is larger than all stays as it is."""
    return next((size for size in sizes if wanted <= size), wanted)

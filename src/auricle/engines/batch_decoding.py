"""A batch engine of any network that gives logits: encodings that are kept, searches, languages, words.

A row is encoded once, and what the decoder needs of it is kept by ``Row.key`` for language detection and hotter tries.
Rows of a batch are decoded together; those that are done leave it. Between two steps the batch can pause: another one
decodes with a run of its own.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import numpy as np

from auricle.engines.base import EngineConfig, Pause, go_on
from auricle.engines.batch_search import DecoderRun, Found, Prompt, SearchPlan, search_windows
from auricle.engines.batch_words import time_tokens
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.draws import draw_numbers
from auricle.engines.rules import Floats
from auricle.engines.special_tokens import SpecialTokens
from auricle.types import Decoding, DecodingOptions, Features, ModelInfo, Row
from auricle.units import TIMESTAMP_S

_CACHE_BYTES = 192 * 2**20
BATCH_BYTES = 512 * 2**20
"""Where the windows of a batch take no more, so many are kept: their languages come first, then their texts."""
_KEPT_ROWS = 4
"""Kept whatever their size: some windows whose language was just detected, and one that is tried again."""

WindowT = TypeVar("WindowT")
"""What a network's decoder needs of one window."""


class Network(Protocol[WindowT]):
    """Whisper on some library."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What it was made from."""
        ...

    def encode(self, features: Features) -> WindowT:
        """One window, from its features (n_mels, frames), frames even."""
        ...

    def size_of(self, window: WindowT) -> int:
        """Bytes that a window holds."""
        ...

    def begin(self, windows: Sequence[WindowT]) -> DecoderRun:
        """A decoder on these windows."""
        ...

    def alignment_keys(self, window: WindowT, positions: int) -> Floats:
        """Keys (A, positions, d) of the alignment heads at the first ``positions`` of a window."""
        ...

    def end_batch(self) -> None:
        """Told when a batch is decoded."""
        ...


def describe_model(
    config: EngineConfig,
    checkpoint: Checkpoint,
    *,
    device: str,
    compute_type: str,
    max_batch: int,
    details: Mapping[str, str],
) -> ModelInfo:
    """What a BatchEngine says of its model; ``max_batch`` holds where ``config`` leaves it open."""
    shape = checkpoint.shape
    multilingual = bool(checkpoint.language_ids)
    return ModelInfo(
        name=config.model_name,
        engine=config.engine,
        device=device,
        compute_type=compute_type,
        n_mels=shape.n_mels,
        is_multilingual=multilingual,
        # Turbo and the distilled models have a pruned decoder that was never trained to translate.
        can_translate=multilingual and shape.decoder_layers * 2 > shape.encoder_layers,
        max_batch=config.max_batch or max_batch,
        batch_by=("options", "prompt_length"),
        gives_way="between_steps",
        details={"encoder_layers": str(shape.encoder_layers), **details},
    )


class BatchEngine(Generic[WindowT]):
    """See ``engines.base.Engine``."""

    def __init__(self, network: Network[WindowT], info: ModelInfo) -> None:
        self.info = info
        self._network = network
        self._shape = network.checkpoint.shape
        self._special = SpecialTokens.of(network.checkpoint)
        self._kept: OrderedDict[str, WindowT] = OrderedDict()
        self._done: set[str] = set()
        """Those that are kept and have a text."""
        self._kept_bytes = 0

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        options = rows[0].options
        windows = [self._encode(row, pause) for row in rows]
        if options.task == "detect_language":
            return self._detect_languages(windows)
        decodings = self._search(rows, windows, pause)
        self._done.update(row.key for row in rows if row.key in self._kept)
        if options.word_timestamps or options.logprobs:
            decodings = [self._align(*each) for each in zip(rows, windows, decodings, strict=True)]
        self._network.end_batch()
        return decodings

    def close(self) -> None:
        self._kept.clear()

    def _encode(self, row: Row, pause: Pause) -> WindowT:
        pause()
        known = self._kept.get(row.key)
        if known is not None:
            self._kept.move_to_end(row.key)
            return known
        # Few are tried again: those that are done go before those whose text is still to come.
        if self._kept_bytes > _CACHE_BYTES:
            # Together: the windows of a batch may share memory, which is free when the last of them is gone.
            for key in list(self._done):
                self._forget(key)
        window = self._network.encode(_pad_features(row))
        self._kept[row.key] = window
        size = self._network.size_of(window)
        self._kept_bytes += size
        batch = self.info.max_batch
        least = max(_KEPT_ROWS, batch if batch * size <= BATCH_BYTES else 0)
        while len(self._kept) > 2 * batch or (self._kept_bytes > _CACHE_BYTES and len(self._kept) > least):
            self._forget(next((key for key in self._kept if key in self._done), next(iter(self._kept))))
        return window

    def _forget(self, key: str) -> None:
        self._kept_bytes -= self._network.size_of(self._kept.pop(key))
        self._done.discard(key)

    def _detect_languages(self, windows: Sequence[WindowT]) -> list[Decoding]:
        answer = self._network.begin(windows).step([[self._special.sot]] * len(windows), [0])
        return [Decoding(language_probabilities=self._special.rank_languages(logits)) for logits in answer.logits[:, 0]]

    def _search(self, rows: Sequence[Row], windows: Sequence[WindowT], pause: Pause) -> list[Decoding]:
        options, length = rows[0].options, len(rows[0].prompt)
        limit = min(self._shape.text_positions - length, options.max_new_tokens or self._shape.text_positions)
        plan = SearchPlan(
            options=options,
            rules=self._special.rules(options),
            limit=limit,
            numbers=[draw_numbers(row, options.best_of, limit) if options.temperature > 0 else None for row in rows],
        )
        prompt = Prompt(tokens=[row.prompt for row in rows], start=rows[0].prompt.index(self._special.sot))
        found = search_windows(self._network.begin(windows), prompt, plan, pause)
        return [_decoding(each, options, self._special.no_speech) for each in found]

    def _align(self, row: Row, window: WindowT, decoding: Decoding) -> Decoding:
        """Adds times and probabilities of the text tokens."""
        eot = self._special.vocabulary.eot
        start = self._special.before_text(row.prompt, row.options)
        text = [token for token in decoding.tokens if token < eot]
        # Past the decoder's context nothing can be aligned.
        text = text[: self._shape.text_positions - len(start) - 1]
        if not text:
            return replace(decoding, token_times=(), token_probabilities=(), token_logprobs=())
        keys = self._network.alignment_keys(window, max(1, row.features.shape[1] // 2))
        timed = time_tokens(self._network.begin([window]), keys, start, text, eot=eot)
        starts = [start * TIMESTAMP_S for start in timed.starts]
        return replace(
            decoding,
            token_times=tuple(pairwise(starts)),
            token_probabilities=tuple(math.exp(logprob) for logprob in timed.logprobs),
            token_logprobs=timed.logprobs,
        )


def _decoding(found: Found, options: DecodingOptions, no_speech: int) -> Decoding:
    tokens = found.hypothesis.tokens
    return Decoding(
        tokens=tuple(tokens),
        # The end token counts, as in openai/whisper.
        avg_logprob=found.hypothesis.score / (len(tokens) + 1),
        no_speech_prob=float(np.exp(found.start_logprobs[no_speech])),
        temperature=options.temperature,
    )


def _pad_features(row: Row) -> Features:
    """(n_mels, context_frames): the features with zeros after them, as openai/whisper's ``pad_or_trim``."""
    n_frames = row.options.context_frames
    padded = np.zeros((row.features.shape[0], n_frames), np.float32)
    found = row.features[:, :n_frames]
    padded[:, : found.shape[1]] = found
    return padded

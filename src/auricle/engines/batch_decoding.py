"""A batch engine of any network that gives logits: encodings that are kept, searches, languages, words.

A row is encoded once, and what the decoder needs of it is kept by ``Row.key`` for language detection and hotter tries.
Rows of a batch are decoded together; those that are done leave it. Between two steps the batch can pause: another one
decodes with a run of its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Generic, Protocol

import numpy as np

from auricle.engines.base import EngineConfig, Pause, go_on
from auricle.engines.batch_search import DecoderRun, Found, Prompt, SearchPlan, search_windows
from auricle.engines.batch_words import time_tokens
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.draws import draw_numbers
from auricle.engines.rules import Floats
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.window_cache import EncodedT, Encoder, WindowCache, WindowT
from auricle.types import Decoding, DecodingOptions, ModelInfo, Row
from auricle.units import TIMESTAMP_S


class Network(Encoder[EncodedT, WindowT], Protocol[EncodedT, WindowT]):
    """Whisper on some library."""

    @property
    def checkpoint(self) -> Checkpoint:
        """What it was made from."""
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


class BatchEngine(Generic[EncodedT, WindowT]):
    """See ``engines.base.Engine``."""

    def __init__(self, network: Network[EncodedT, WindowT], info: ModelInfo) -> None:
        self.info = info
        self._network = network
        self._shape = network.checkpoint.shape
        self._special = SpecialTokens.of(network.checkpoint)
        self._windows = WindowCache(network, max_batch=info.max_batch)

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        options = rows[0].options
        windows = [self._encode(row, pause) for row in rows]
        if options.task == "detect_language":
            return self._detect_languages(windows)
        decodings = self._search(rows, windows, pause)
        self._windows.note_texts(rows)
        if options.word_timestamps or options.logprobs:
            decodings = [self._align(*each) for each in zip(rows, windows, decodings, strict=True)]
        self._network.end_batch()
        return decodings

    def close(self) -> None:
        self._windows.clear()

    def _encode(self, row: Row, pause: Pause) -> WindowT:
        pause()
        return self._windows.get(row)

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

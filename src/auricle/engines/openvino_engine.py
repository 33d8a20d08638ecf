"""Whisper on OpenVINO (CPU): about twice as fast as CTranslate2 on a CPU, from the same model files.

A row is encoded once, to the keys and values of the decoder's cross-attention, which are kept by ``Row.key`` for
language detection and hotter tries. Rows of a batch are decoded together; those that are done leave it. Between two
steps the batch can pause: another one decodes with an inference request of its own.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import openvino as ov

from auricle.engines.base import EngineConfig, Pause, go_on
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.openvino_compile import CompiledWhisper, compile_whisper
from auricle.engines.openvino_decoder import DecoderRun
from auricle.engines.openvino_search import Found, Prompt, SearchPlan, search_windows
from auricle.engines.openvino_tensors import Cross, copy, size_of
from auricle.engines.openvino_words import time_tokens
from auricle.engines.rules import Rules, Vocabulary
from auricle.errors import InvalidOption
from auricle.tokenizer import LANGUAGES
from auricle.types import Decoding, DecodingOptions, Features, ModelInfo, Row
from auricle.units import TIMESTAMP_S

_CACHE_BYTES = 192 * 2**20
_KEPT_ROWS = 4
"""Kept whatever their size: the windows whose language was just detected, and one that is tried again."""
_MAX_BATCH = 8
N_TIMESTAMPS = 1501


def load(config: EngineConfig) -> "OpenVinoEngine":
    """Load the model of ``config`` from a folder in CTranslate2 or Hugging Face form.

    Raises InvalidOption for a device or compute type that is not to be had, EngineFailed for a damaged file.
    """
    if config.device not in {"auto", "cpu"}:
        raise InvalidOption(f"engine 'openvino' runs on the cpu, not on {config.device!r}", param="device")
    return OpenVinoEngine(compile_whisper(config), config)


class OpenVinoEngine:
    """See ``engines.base.Engine``."""

    def __init__(self, model: CompiledWhisper, config: EngineConfig) -> None:
        checkpoint = model.checkpoint
        self._shape = checkpoint.shape
        size = self._shape.vocabulary
        self._special = _read_special(checkpoint)
        self._language_ids = list(checkpoint.language_ids)
        # The end of text comes right before the start of transcript.
        self._vocabulary = Vocabulary(eot=self._special.sot - 1, first_timestamp=size - N_TIMESTAMPS, size=size)
        self._heads = checkpoint.alignment_heads
        self._mapped = model.mapped
        self._encoder = model.encoder.create_infer_request()
        self._short_encoder = model.short_encoder.create_infer_request()
        self._decoder = model.decoder
        self._names = [
            name for layer in range(self._shape.decoder_layers) for name in (f"cross_k{layer}", f"cross_v{layer}")
        ]
        self._cache: OrderedDict[str, Cross] = OrderedDict()
        self._cached_bytes = 0
        self._random = np.random.default_rng(0)
        multilingual = bool(self._language_ids)
        self.info = ModelInfo(
            name=config.model_name,
            engine="openvino",
            device="cpu",
            compute_type=model.compute_type,
            n_mels=self._shape.n_mels,
            is_multilingual=multilingual,
            # Turbo and the distilled models have a pruned decoder that was never trained to translate.
            can_translate=multilingual and self._shape.decoder_layers * 2 > self._shape.encoder_layers,
            max_batch=config.max_batch or _MAX_BATCH,
            batch_by=("options", "prompt_length"),
            gives_way="between_steps",
            details={
                "openvino": ov.__version__,
                "encoder_layers": str(self._shape.encoder_layers),
                "compiled": "earlier" if model.was_cached else "now",
            },
        )

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        options = rows[0].options
        cross = [self._encode(row, pause) for row in rows]
        if options.task == "detect_language":
            return self._detect_language(cross)
        decodings = self._search(rows, cross, pause)
        if options.word_timestamps or options.logprobs:
            decodings = [self._align(*each) for each in zip(rows, cross, decodings, strict=True)]
        if self._mapped is not None:
            # Weights are packed when they are first used; what they were packed from is not read again.
            self._mapped.forget_pages()
        return decodings

    def close(self) -> None:
        self._cache.clear()

    def _encode(self, row: Row, pause: Pause) -> Cross:
        pause()
        known = self._cache.get(row.key)
        if known is not None:
            self._cache.move_to_end(row.key)
            return known
        is_full = row.options.context_frames == 2 * self._shape.audio_positions
        encoder = self._encoder if is_full else self._short_encoder
        encoder.set_tensor("features", ov.Tensor(_pad_features(row)))
        encoder.infer()
        # Copies: the request's own outputs are overwritten by the next row.
        cross = tuple(copy(encoder.get_tensor(name)) for name in self._names)
        self._cache[row.key] = cross
        self._cached_bytes += size_of(cross)
        most = 2 * self.info.max_batch
        while len(self._cache) > most or (self._cached_bytes > _CACHE_BYTES and len(self._cache) > _KEPT_ROWS):
            self._cached_bytes -= size_of(self._cache.popitem(last=False)[1])
        return cross

    def _detect_language(self, cross: Sequence[Cross]) -> list[Decoding]:
        answer = DecoderRun(self._decoder, cross).step([[self._special.sot]] * len(cross), [0])
        decodings: list[Decoding] = []
        for row in answer.logits[:, 0, self._language_ids]:
            odds = np.exp(row - row.max())
            odds /= odds.sum()
            ranked = sorted(zip(self._languages(), odds.tolist(), strict=True), key=lambda pair: -pair[1])
            decodings.append(Decoding(language_probabilities=tuple(ranked)))
        return decodings

    def _languages(self) -> list[str]:
        return list(LANGUAGES)[: len(self._language_ids)]

    def _search(self, rows: Sequence[Row], cross: Sequence[Cross], pause: Pause) -> list[Decoding]:
        options, length = rows[0].options, len(rows[0].prompt)
        plan = SearchPlan(
            options=options,
            rules=self._rules(options),
            limit=min(self._shape.text_positions - length, options.max_new_tokens or self._shape.text_positions),
            random=self._random,
        )
        prompt = Prompt(tokens=[row.prompt for row in rows], start=rows[0].prompt.index(self._special.sot))
        found = search_windows(DecoderRun(self._decoder, cross), cross, prompt, plan, pause)
        return [_decoding(each, options, float(np.exp(each.start_logprobs[self._special.no_speech]))) for each in found]

    def _rules(self, options: DecodingOptions) -> Rules:
        asked = [token for token in options.suppress_tokens if token >= 0]
        own = self._special.suppressed if -1 in options.suppress_tokens else ()
        return Rules(
            vocabulary=self._vocabulary,
            suppressed=(*asked, *own, self._special.no_timestamps),
            suppressed_first=self._special.suppressed_first,
            timestamps=not options.without_timestamps,
            max_initial=round(options.max_initial_timestamp / TIMESTAMP_S),
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
        )

    def _align(self, row: Row, cross: Cross, decoding: Decoding) -> Decoding:
        """Adds times and probabilities of the text tokens."""
        start = row.prompt[row.prompt.index(self._special.sot) :]
        start = start if row.options.without_timestamps else (*start, self._special.no_timestamps)
        text = [token for token in decoding.tokens if token < self._vocabulary.eot]
        # Past the decoder's context nothing can be aligned.
        text = text[: self._shape.text_positions - len(start) - 1]
        if not text:
            return replace(decoding, token_times=(), token_probabilities=(), token_logprobs=())
        timed = time_tokens(
            DecoderRun(self._decoder, [cross]),
            cross,
            start,
            text,
            eot=self._vocabulary.eot,
            heads=self._heads,
            positions=max(1, row.features.shape[1] // 2),
        )
        starts = [start * TIMESTAMP_S for start in timed.starts]
        return replace(
            decoding,
            token_times=tuple(pairwise(starts)),
            token_probabilities=tuple(math.exp(logprob) for logprob in timed.logprobs),
            token_logprobs=timed.logprobs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Special:
    """Tokens with a meaning, as the model's configuration has them."""

    sot: int
    no_speech: int
    no_timestamps: int
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]


def _read_special(checkpoint: Checkpoint) -> _Special:
    """The order of the special tokens is the same in every Whisper vocabulary, counted from its end:
    1501 timestamps, then no-timestamps, no-speech …
    """
    first_timestamp = checkpoint.shape.vocabulary - N_TIMESTAMPS
    languages = checkpoint.language_ids
    return _Special(
        sot=languages[0] - 1 if languages else first_timestamp - 106,
        no_speech=first_timestamp - 2,
        no_timestamps=first_timestamp - 1,
        suppressed=checkpoint.suppressed,
        suppressed_first=checkpoint.suppressed_first,
    )


def _decoding(found: Found, options: DecodingOptions, no_speech_prob: float) -> Decoding:
    tokens = found.hypothesis.tokens
    return Decoding(
        tokens=tuple(tokens),
        # The end token counts, as in openai/whisper.
        avg_logprob=found.hypothesis.score / (len(tokens) + 1),
        no_speech_prob=no_speech_prob,
        temperature=options.temperature,
    )


def _pad_features(row: Row) -> Features:
    """(1, n_mels, context_frames): the features with zeros after them, as openai/whisper's ``pad_or_trim``."""
    n_frames = row.options.context_frames
    padded = np.zeros((1, row.features.shape[0], n_frames), np.float32)
    found = row.features[:, :n_frames]
    padded[0, :, : found.shape[1]] = found
    return padded

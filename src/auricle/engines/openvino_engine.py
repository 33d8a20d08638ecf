"""Whisper on OpenVINO (CPU): about twice as fast as CTranslate2 on a CPU, from the same model files.

A row is encoded once, to the keys and values of the decoder's cross-attention, which are kept by ``Row.key`` for
language detection and hotter tries. Rows of a batch are decoded together; those that are done leave it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

import json
import math
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from auricle.engines.alignment import attention_weights, token_starts
from auricle.engines.base import EngineConfig
from auricle.engines.ct2_format import read_variables
from auricle.engines.openvino_graph import GraphBuilder
from auricle.engines.openvino_tensors import Cross, copy, join, size_of, to_float32
from auricle.engines.search import (
    NEVER,
    Hypothesis,
    Scores,
    Vocabulary,
    allowed_next,
    best_tokens,
    make_search,
    sample_token,
    top_tokens,
)
from auricle.errors import EngineFailed, InvalidOption, UnsupportedOption
from auricle.tokenizer import LANGUAGES
from auricle.types import Decoding, DecodingOptions, Features, ModelInfo, Row
from auricle.units import TIMESTAMP_S

_CACHE_BYTES = 96 * 2**20
_KEPT_ROWS = 4
"""Kept whatever their size: the windows whose language was just detected, and one that is tried again."""
_MAX_BATCH = 8
N_TIMESTAMPS = 1501
COMPUTE_TYPES = {
    "int8": "8-bit weights with activations rounded on the fly, the rest in bfloat16 where the CPU has it",
    "bfloat16": "bfloat16 products",
    "float32": "exact",
}


def load(config: EngineConfig) -> "OpenVinoEngine":
    """Load the model of ``config`` from a CTranslate2 folder.

    Raises InvalidOption for a device or compute type that is not to be had, EngineFailed for a damaged file.
    """
    if config.device not in {"auto", "cpu"}:
        raise InvalidOption(f"engine 'openvino' runs on the cpu, not on {config.device!r}", param="device")
    core = ov.Core()
    compute_type = "int8" if config.compute_type in {"auto", "default", "int8_float32"} else config.compute_type
    if compute_type not in COMPUTE_TYPES:
        known = ", ".join(COMPUTE_TYPES)
        raise InvalidOption(
            f"engine 'openvino' has no compute type {compute_type!r}; it has {known}", param="compute_type"
        )
    return OpenVinoEngine(core, config, compute_type)


class OpenVinoEngine:
    """See ``engines.base.Engine``."""

    def __init__(self, core: ov.Core, config: EngineConfig, compute_type: str) -> None:
        has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if compute_type == "bfloat16" and not has_bfloat16:
            raise InvalidOption("this CPU has no bfloat16 products; use int8 or float32", param="compute_type")
        half = has_bfloat16 and compute_type != "float32"
        model = json.loads((config.model_path / "config.json").read_text())
        variables = read_variables(config.model_path / "model.bin")
        builder = GraphBuilder(variables, int8=compute_type == "int8", half=half)
        self._shape = builder.shape
        size = self._shape.vocabulary
        self._special = _read_special(model, size)
        self._language_ids: list[int] = model.get("lang_ids") or []
        # The end of text comes right before the start of transcript.
        self._vocabulary = Vocabulary(eot=self._special.sot - 1, first_timestamp=size - N_TIMESTAMPS, size=size)
        self._heads = [(int(layer), int(head)) for layer, head in model["alignment_heads"]]
        # The graph gathers the heads layer by layer.
        self._heads.sort(key=lambda pair: pair[0])
        hints: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": config.threads or os.cpu_count() or 1,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            # By default the cache of the self-attention is rounded to 8 bits.
            "KV_CACHE_PRECISION": "bf16" if half else "f32",
        }
        if compute_type == "int8":
            hints["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "64"
        try:
            encoder = core.compile_model(builder.build_encoder(), "CPU", hints)
            decoder = core.compile_model(builder.build_decoder(self._heads), "CPU", hints)
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO cannot compile {config.model_name}: {error}") from error
        self._encoder = encoder.create_infer_request()
        self._compiled_decoder = decoder
        self._decoder = decoder.create_infer_request()
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
            compute_type=compute_type + ("_bfloat16" if half and compute_type == "int8" else ""),
            n_mels=self._shape.n_mels,
            is_multilingual=multilingual,
            # Turbo and the distilled models have a pruned decoder that was never trained to translate.
            can_translate=multilingual and self._shape.decoder_layers * 2 > self._shape.encoder_layers,
            max_batch=config.max_batch or _MAX_BATCH,
            batch_by=("options", "prompt_length"),
            details={"openvino": ov.__version__, "encoder_layers": str(self._shape.encoder_layers)},
        )

    def decode(self, rows: Sequence[Row]) -> list[Decoding]:
        options = rows[0].options
        if options.repetition_penalty != 1.0 or options.no_repeat_ngram_size:
            raise UnsupportedOption("engine 'openvino' has no repetition penalty and no n-gram ban; use engine 'ct2'")
        cross = [self._encode(row) for row in rows]
        if options.task == "detect_language":
            return self._detect_language(cross)
        decodings = self._search(rows, cross)
        if options.word_timestamps or options.logprobs:
            return self._align(rows, cross, decodings)
        return decodings

    def close(self) -> None:
        self._cache.clear()

    def _encode(self, row: Row) -> Cross:
        known = self._cache.get(row.key)
        if known is not None:
            self._cache.move_to_end(row.key)
            return known
        self._encoder.set_tensor("features", ov.Tensor(_pad_features(row)))
        self._encoder.infer()
        # Copies: the request's own outputs are overwritten by the next row.
        cross = tuple(copy(self._encoder.get_tensor(name)) for name in self._names)
        self._cache[row.key] = cross
        self._cached_bytes += size_of(cross)
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > _KEPT_ROWS:
            self._cached_bytes -= size_of(self._cache.popitem(last=False)[1])
        return cross

    def _detect_language(self, cross: Sequence[Cross]) -> list[Decoding]:
        self._begin(cross)
        start = np.full((len(cross), 1), self._special.sot, np.int32)
        bias = np.zeros((1, self._shape.vocabulary), np.float32)
        answer = self._step(start, 0, np.arange(len(cross)), [0], bias)
        decodings: list[Decoding] = []
        for row in answer.logprobs[:, 0, self._language_ids]:
            odds = np.exp(row - row.max())
            odds /= odds.sum()
            ranked = sorted(zip(self._languages(), odds.tolist(), strict=True), key=lambda pair: -pair[1])
            decodings.append(Decoding(language_probabilities=tuple(ranked)))
        return decodings

    def _languages(self) -> list[str]:
        return list(LANGUAGES)[: len(self._language_ids)]

    def _search(self, rows: Sequence[Row], cross: Sequence[Cross]) -> list[Decoding]:
        """The prompt once for every window, then step by step all hypotheses of the windows that are not done.

        Each window has as many rows as a search can have hypotheses, side by side; spare rows repeat.
        """
        options = rows[0].options
        searches = [make_search(options) for _ in rows]
        prompts = np.array([row.prompt for row in rows], np.int32)
        length = prompts.shape[1]
        limit = min(self._shape.text_positions - length, options.max_new_tokens or self._shape.text_positions)
        self._begin(cross)
        bias = np.stack([np.zeros(self._shape.vocabulary, np.float32), self._bias(options, first=True)])
        wanted = [rows[0].prompt.index(self._special.sot), length - 1]
        answer = self._step(prompts, 0, np.arange(len(rows)), wanted, bias)
        no_speech = np.exp(answer.logprobs[:, 0, self._special.no_speech]).tolist()
        scores = self._rank(answer, searches[0].width)
        slots = list(range(len(rows)))
        """Windows whose tensors are with the decoder, in their order there."""
        group = 1
        steady = self._bias(options, first=False)[None]
        for step in range(limit):
            tokens: list[int] = []
            came_from: list[int] = []
            for slot, window in enumerate(slots):
                search = searches[window]
                parents = [0]
                if not search.is_done:
                    choices = [
                        self._choose(hypothesis, scores[slot * group + min(number, group - 1)], options)
                        for number, hypothesis in enumerate(search.live)
                    ]
                    parents = search.advance(choices, self._vocabulary.eot, is_last=step == limit - 1) or [0]
                spare = search.width - len(parents)
                came_from += [slot * group + min(parent, group - 1) for parent in parents + [parents[0]] * spare]
                last = [hypothesis.tokens[-1] for hypothesis in search.live] or [self._vocabulary.eot]
                tokens += last + [last[0]] * (search.width - len(last))
            group = searches[0].width
            open_slots = [slot for slot, window in enumerate(slots) if not searches[window].is_done]
            if not open_slots:
                break
            if 2 * len(open_slots) <= len(slots):
                # Windows that are done leave; their tensors need not be read any more.
                slots = [slots[slot] for slot in open_slots]
                self._set_cross([cross[window] for window in slots])
                picked = [slot * group + number for slot in open_slots for number in range(group)]
                tokens = [tokens[row] for row in picked]
                came_from = [came_from[row] for row in picked]
            answer = self._step(np.array(tokens, np.int32)[:, None], length + step, np.array(came_from), [0], steady)
            scores = self._rank(answer, group)
        return [_decoding(search.best(), options, no_speech[window]) for window, search in enumerate(searches)]

    def _rank(self, answer: "_Answer", width: int) -> list[Scores]:
        """What the searches look at, of the last place of each row."""
        last = answer.logprobs[:, -1]
        # Beam search wants twice its beams, so that enough are left when some end.
        tokens, values = top_tokens(last[:, : self._vocabulary.first_timestamp], 1 if width == 1 else 2 * width)
        return [Scores(logprobs=last[row], top_tokens=tokens[row], top_values=values[row]) for row in range(len(last))]

    def _choose(self, hypothesis: Hypothesis, scores: Scores, options: DecodingOptions) -> list[tuple[int, float]]:
        allowed = allowed_next(
            hypothesis.tokens,
            scores,
            self._vocabulary,
            timestamps=not options.without_timestamps,
            max_initial=round(options.max_initial_timestamp / TIMESTAMP_S),
        )
        if options.temperature > 0:
            return [sample_token(scores, allowed, self._vocabulary, options.temperature, self._random)]
        return best_tokens(scores, allowed, self._vocabulary)

    def _align(self, rows: Sequence[Row], cross: Sequence[Cross], decodings: Sequence[Decoding]) -> list[Decoding]:
        """Times and probabilities of the text tokens: each text once more, all of its tokens in one call."""
        answer: list[Decoding] = []
        for row, own, decoding in zip(rows, cross, decodings, strict=True):
            start = row.prompt[row.prompt.index(self._special.sot) :]
            start = start if row.options.without_timestamps else (*start, self._special.no_timestamps)
            text = [token for token in decoding.tokens if token < self._vocabulary.eot]
            answer.append(self._align_text(own, start, text, decoding, row.features.shape[1]))
        return answer

    def _align_text(
        self, cross: Cross, start: tuple[int, ...], text: list[int], decoding: Decoding, n_frames: int
    ) -> Decoding:
        # Past the decoder's context nothing can be aligned.
        text = text[: self._shape.text_positions - len(start) - 1]
        if not text or n_frames < 2:
            return replace(decoding, token_times=(), token_probabilities=(), token_logprobs=())
        tokens = np.array([[*start, *text, self._vocabulary.eot]], np.int32)
        self._begin([cross])
        wanted = list(range(len(start) - 1, len(start) - 1 + len(text)))
        bias = np.zeros((len(wanted), self._shape.vocabulary), np.float32)
        answer = self._step(tokens, 0, np.arange(1), wanted, bias)
        among_text = answer.logprobs[0, :, : self._vocabulary.eot]
        own = among_text[np.arange(len(text)), text]
        logprobs = own - np.log(np.exp(among_text).sum(axis=-1))
        keys = [to_float32(cross[2 * layer])[0, head] for layer, head in self._heads]
        steps = max(1, min(n_frames // 2, keys[0].shape[0]))
        weights = attention_weights(answer.queries[0], np.stack(keys)[:, :steps])
        starts = token_starts(weights, slice(len(start) - 1, -1)) * TIMESTAMP_S
        return replace(
            decoding,
            token_times=tuple(pairwise(starts.tolist())),
            token_probabilities=tuple(np.exp(logprobs).tolist()),
            token_logprobs=tuple(logprobs.tolist()),
        )

    def _begin(self, cross: Sequence[Cross]) -> None:
        """Forget earlier tokens and take these windows."""
        # A request whose state is reset and grown anew with other rows gives NaN (2026.4); a fresh one costs little.
        self._decoder = self._compiled_decoder.create_infer_request()
        self._set_cross(cross)

    def _set_cross(self, cross: Sequence[Cross]) -> None:
        for number, name in enumerate(self._names):
            parts = [row[number] for row in cross]
            self._decoder.set_tensor(name, parts[0] if len(parts) == 1 else join(parts))

    def _step(
        self,
        tokens: NDArray[np.int32],
        position: int,
        came_from: NDArray[np.int64],
        wanted: Sequence[int],
        bias: NDArray[np.float32],
    ) -> "_Answer":
        """Tokens (N, L) behind ``position`` earlier ones; the answer's arrays hold until the next call."""
        length = tokens.shape[1]
        mask = np.zeros((length, position + length), np.float32)
        if length > 1:
            mask[:, position:] = np.triu(np.full((length, length), -math.inf, np.float32), 1)
        inputs: dict[str, NDArray[Any]] = {
            "tokens": np.ascontiguousarray(tokens, np.int32),
            "positions": np.arange(position, position + length, dtype=np.int32),
            "beam_idx": came_from.astype(np.int32),
            "mask": mask,
            "wanted": np.array(wanted, np.int32),
            "bias": bias,
        }
        for name, value in inputs.items():
            self._decoder.set_tensor(name, ov.Tensor(value))
        self._decoder.infer()
        outputs = (self._decoder.get_tensor(name).data for name in ("logprobs", "queries"))
        return _Answer(*outputs)

    def _bias(self, options: DecodingOptions, *, first: bool) -> NDArray[np.float32]:
        """Added to the logits: suppressed tokens become impossible."""
        asked = [token for token in options.suppress_tokens if token >= 0]
        own = self._special.suppressed if -1 in options.suppress_tokens else ()
        bias = np.zeros(self._shape.vocabulary, np.float32)
        bias[[*asked, *own, self._special.no_timestamps]] = NEVER
        if first:
            bias[list(self._special.suppressed_first)] = NEVER
        return bias


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the decoder says for N rows at P places: views of its outputs."""

    logprobs: NDArray[np.float32]
    queries: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Special:
    """Tokens with a meaning, as the model's configuration has them."""

    sot: int
    no_speech: int
    no_timestamps: int
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]


def _read_special(model: dict[str, Any], vocabulary_size: int) -> _Special:
    """The order of the special tokens is the same in every Whisper vocabulary, counted from its end:
    1501 timestamps, then no-timestamps, no-speech …
    """
    first_timestamp = vocabulary_size - N_TIMESTAMPS
    languages: list[int] = model.get("lang_ids") or []
    return _Special(
        sot=languages[0] - 1 if languages else first_timestamp - 106,
        no_speech=first_timestamp - 2,
        no_timestamps=first_timestamp - 1,
        suppressed=tuple(model.get("suppress_ids", ())),
        suppressed_first=tuple(model.get("suppress_ids_begin", ())),
    )


def _decoding(hypothesis: Hypothesis, options: DecodingOptions, no_speech_prob: float) -> Decoding:
    return Decoding(
        tokens=tuple(hypothesis.tokens),
        # The end token counts, as in openai/whisper.
        avg_logprob=hypothesis.score / (len(hypothesis.tokens) + 1),
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

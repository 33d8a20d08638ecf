"""Whisper on CTranslate2 (CPU and CUDA), called directly.

A row is encoded once: its encoding is kept by ``Row.key`` for language detection, hotter tries and word alignment.
CTranslate2 wants the start of transcript at one index, one set of options a call, and one start sequence an alignment.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# CTranslate2's extension module carries no types.

import math
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import ctranslate2  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from numpy.typing import NDArray

from auricle.engines.base import EngineConfig, Pause, go_on
from auricle.engines.ct2_device import check_cuda, choose_device, settle_compute_type
from auricle.engines.ct2_format import count_layers, read_variables
from auricle.engines.folder_format import CONVERT_HINT, format_of
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.types import Decoding, DecodingOptions, Features, ModelInfo, Row
from auricle.units import TIMESTAMP_S

_KEPT_ROWS = 8
"""Encodings that are kept at least: of the windows whose language was just detected, or that are tried again."""
_MAX_LENGTH = 448
"""Places for tokens in the decoder of every Whisper model."""
_BATCH = {"cpu": 4, "cuda": 32}
"""Rows of a batch. On a CPU a token costs the same from four rows on (base, int8: 12.6, 8.1, 8.0 ms at 1, 4, 8 rows),
and a short batch lets urgent rows in sooner."""
_SEED = 1
_OTHER_FORMS = {"hf": "Hugging Face form", "openai": "the form of openai/whisper"}

Encoding = NDArray[np.float32]
"""(1, n_frames // 2, d_model) on the host."""


def load(config: EngineConfig) -> "CT2Engine":
    """Load the model of ``config``.

    Raises InvalidOption for a device or a compute type that is not there and for a model in another form,
    EngineNotInstalled where CUDA lacks a library, EngineOutOfMemory and EngineFailed otherwise.
    """
    form = _OTHER_FORMS.get(format_of(config.model_path) or "")
    if form is not None:
        raise InvalidOption(
            f"engine 'ct2' cannot read {config.model_name}, which is in {form}; run it with "
            f"`--engine openvino` or `--engine torch`, or convert it: {CONVERT_HINT}",
            param="engine",
        )
    device = choose_device(config.device)
    index = config.device_index if device == "cuda" else 0
    if device == "cuda":
        check_cuda(index)
    compute_type = settle_compute_type(config.compute_type, device, index)
    # The model's thread draws on from here: the same rows in the same order have the same samples after every start.
    ctranslate2.set_random_seed(_SEED)
    try:
        model = ctranslate2.models.Whisper(
            str(config.model_path),
            device=device,
            device_index=index,
            compute_type=compute_type,
            intra_threads=config.threads or os.cpu_count() or 1,
            inter_threads=1,
        )
    except (RuntimeError, ValueError) as error:
        if "out of memory" in str(error):
            raise EngineOutOfMemory(f"{config.model_name} does not fit into the memory of {device}: {error}") from error
        raise EngineFailed(f"CTranslate2 cannot load {config.model_name} from {config.model_path}: {error}") from error
    return CT2Engine(model, config, device)


class CT2Engine:
    """See ``engines.base.Engine``."""

    def __init__(self, model: Any, config: EngineConfig, device: str) -> None:
        self._model = model
        self._device = device
        self._encodings: OrderedDict[str, Encoding] = OrderedDict()
        self._done: set[str] = set()
        """Those of them that have a text."""
        variables = read_variables(config.model_path / "model.bin")
        encoder_layers, decoder_layers = (count_layers(variables, part) for part in ("encoder", "decoder"))
        multilingual = bool(model.is_multilingual)
        self.info = ModelInfo(
            name=config.model_name,
            engine="ct2",
            device=device,
            compute_type=str(model.compute_type),
            n_mels=int(model.n_mels),
            is_multilingual=multilingual,
            # Turbo and the distilled models have a pruned decoder that was never trained to translate.
            can_translate=multilingual and decoder_layers * 2 > encoder_layers,
            max_batch=config.max_batch or _BATCH[device],
            batch_by=("options", "prompt_length"),
            gives_way="never" if device == "cuda" else "between_rows",
            details={"ctranslate2": ctranslate2.__version__, "encoder_layers": str(encoder_layers)},
        )

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        try:
            encodings = self._encode(rows, pause)
            pause()
            if rows[0].options.task == "detect_language":
                return self._detect_language(encodings)
            decodings = self._generate(rows, encodings)
            self._done.update(row.key for row in rows if row.key in self._encodings)
            return decodings
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or "out of memory" in str(error):
                raise EngineOutOfMemory(f"{len(rows)} rows need more memory than {self._device} has") from error
            raise

    def close(self) -> None:
        self._encodings.clear()
        self._model.unload_model()

    def _encode(self, rows: Sequence[Row], pause: Pause) -> list[Encoding]:
        # Held here too: while this batch pauses, others may push them out.
        known = {row.key: self._encodings[row.key] for row in rows if row.key in self._encodings}
        missing = {row.key: row for row in rows if row.key not in known}
        # On a CPU a batch is no faster than its rows, and needs more memory.
        step = len(missing) if self._device == "cuda" else 1
        todo = list(missing.values())
        for first in range(0, len(todo), max(step, 1)):
            if first:
                pause()
            part = todo[first : first + step]
            features = _pad_features(part)
            encoded = self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True)
            array = _to_numpy(encoded)
            known |= {row.key: array[index : index + 1] for index, row in enumerate(part)}
        answer = [known[row.key] for row in rows]
        for row, encoding in zip(rows, answer, strict=True):
            self._remember(row.key, encoding)
        return answer

    def _remember(self, key: str, encoding: Encoding) -> None:
        self._encodings[key] = encoding
        self._encodings.move_to_end(key)
        while len(self._encodings) > max(_KEPT_ROWS, 2 * self.info.max_batch):
            # Few are tried again: they go before those whose text is still to come.
            oldest = next((key for key in self._encodings if key in self._done), next(iter(self._encodings)))
            del self._encodings[oldest]
            self._done.discard(oldest)

    def _detect_language(self, encodings: Sequence[Encoding]) -> list[Decoding]:
        found = self._model.detect_language(_view(encodings))
        return [
            Decoding(language_probabilities=tuple((token[2:-2], probability) for token, probability in row))
            for row in found
        ]

    def _generate(self, rows: Sequence[Row], encodings: Sequence[Encoding]) -> list[Decoding]:
        options = rows[0].options
        results = self._model.generate(
            _view(encodings),
            [list(row.prompt) for row in rows],
            **_generate_arguments(options, len(rows[0].prompt)),
        )
        decodings = [_decoding(result, options) for result in results]
        if options.word_timestamps or options.logprobs:
            return self._align(rows, encodings, decodings)
        return decodings

    def _align(
        self, rows: Sequence[Row], encodings: Sequence[Encoding], decodings: Sequence[Decoding]
    ) -> list[Decoding]:
        """Adds times and probabilities of the text tokens; one call a start sequence."""
        answer = list(decodings)
        context_frames = rows[0].options.context_frames
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(self._start_sequence(row), []).append(index)
        for start_sequence, group in groups.items():
            text = {index: self._text_tokens(decodings[index].tokens) for index in group}
            spoken = [index for index in group if text[index]]
            if spoken:
                found = self._model.align(
                    _view([encodings[index] for index in spoken]),
                    list(start_sequence),
                    [text[index] for index in spoken],
                    [min(rows[index].features.shape[1], context_frames) for index in spoken],
                )
                for index, result in zip(spoken, found, strict=True):
                    answer[index] = _with_alignment(decodings[index], result.alignments, result.text_token_probs)
            for index in set(group) - set(spoken):
                answer[index] = _with_alignment(decodings[index], (), ())
        return answer

    def _start_sequence(self, row: Row) -> tuple[int, ...]:
        """Start of transcript, language and task: the prompt's tail without the no-timestamps token."""
        tail = row.prompt[-3:] if self.info.is_multilingual else row.prompt[-1:]
        if row.options.without_timestamps:
            tail = row.prompt[-4:-1] if self.info.is_multilingual else row.prompt[-2:-1]
        return tail

    def _text_tokens(self, tokens: Iterable[int]) -> list[int]:
        # The end-of-text token is the first special one in every Whisper vocabulary.
        eot = 50257 if self.info.is_multilingual else 50256
        return [token for token in tokens if token < eot]


def _generate_arguments(options: DecodingOptions, prompt_length: int) -> dict[str, Any]:
    sampling = options.temperature > 0
    return {
        "beam_size": 1 if sampling else options.beam_size,
        "patience": 1.0 if sampling else options.patience,
        "num_hypotheses": options.best_of if sampling else 1,
        "sampling_topk": 0 if sampling else 1,
        "sampling_temperature": options.temperature if sampling else 1.0,
        "length_penalty": options.length_penalty,
        "repetition_penalty": options.repetition_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "max_length": _max_length(options.max_new_tokens, prompt_length),
        "return_scores": True,
        "return_no_speech_prob": True,
        "suppress_blank": True,
        "suppress_tokens": list(options.suppress_tokens),
        "max_initial_timestamp_index": round(options.max_initial_timestamp / TIMESTAMP_S),
    }


def _max_length(max_new_tokens: int | None, prompt_length: int) -> int:
    """CTranslate2 makes at most half as many new tokens, nor more than fit behind all of the prompt but its end."""
    if max_new_tokens is None:
        return _MAX_LENGTH
    return min(_MAX_LENGTH, max(2 * max_new_tokens, prompt_length - 1 + max_new_tokens))


def _decoding(result: Any, options: DecodingOptions) -> Decoding:
    tokens = tuple(result.sequences_ids[0])
    # The score is the sum of log-probabilities over length ** length_penalty; openai/whisper divides by length + 1.
    total = result.scores[0] * len(tokens) ** options.length_penalty
    return Decoding(
        tokens=tokens,
        avg_logprob=total / (len(tokens) + 1),
        no_speech_prob=result.no_speech_prob,
        temperature=options.temperature,
    )


def _with_alignment(decoding: Decoding, path: Sequence[tuple[int, int]], probabilities: Sequence[float]) -> Decoding:
    """Adds what the alignment ``path`` of (token, timestamp step) pairs says.

    A token starts where the path first reaches it, and ends where it reaches the next one.
    """
    pairs = np.array(path, dtype=np.int64).reshape(-1, 2)
    first = np.diff(pairs[:, 0], prepend=-1) > 0
    starts: list[float] = (pairs[first, 1] * TIMESTAMP_S).tolist()
    return replace(
        decoding,
        token_times=tuple(pairwise(starts)),
        token_probabilities=tuple(probabilities),
        token_logprobs=tuple(math.log(max(probability, 1e-10)) for probability in probabilities),
    )


def _pad_features(rows: Sequence[Row]) -> Features:
    """(n, n_mels, context_frames): the rows' features with zeros after them, as openai/whisper's ``pad_or_trim``."""
    n_frames = rows[0].options.context_frames
    padded = np.zeros((len(rows), rows[0].features.shape[0], n_frames), np.float32)
    for place, row in zip(padded, rows, strict=True):
        found = row.features[:, :n_frames]
        place[:, : found.shape[1]] = found
    return padded


def _view(encodings: Sequence[Encoding]) -> Any:
    joined = encodings[0] if len(encodings) == 1 else np.concatenate(encodings)
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(joined))


def _to_numpy(view: Any) -> Encoding:
    if view.dtype != ctranslate2.DataType.float32:
        view = view.to(ctranslate2.DataType.float32)
    return np.array(view)

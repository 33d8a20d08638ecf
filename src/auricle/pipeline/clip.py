"""The one loop: window, features, decoding, judgement, segments, next window, until the clip ends."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np

from auricle.audio.mel import log_mel, with_margins
from auricle.batching.scheduler import Recognizer
from auricle.pipeline.context import context_frames, trust_short_context
from auricle.pipeline.fallback import Verdict, choose_best, compression_ratio, judge
from auricle.pipeline.language import vote
from auricle.pipeline.meter import Meter
from auricle.pipeline.prompts import Prompter
from auricle.pipeline.reader import call_in_thread
from auricle.pipeline.segments import Piece, split_tokens
from auricle.pipeline.words import group_words, place_words
from auricle.tokenizer import Tokenizer
from auricle.types import (
    Decoding,
    DecodingOptions,
    Features,
    RequestInfo,
    Row,
    Samples,
    Segment,
    TokenLogprob,
    TranscribeOptions,
    Window,
    Word,
)
from auricle.units import N_FRAMES, samples_to_frames, samples_to_seconds

NextWindow = Callable[[int], Awaitable[Window | None]]
"""Window that begins at a sample of the clip, or None at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDone:
    """What one window gave; ``start`` and ``end`` are the file samples that are done with it."""

    start: int
    end: int
    segments: tuple[Segment, ...] = ()
    history: tuple[int, ...] = ()
    """Tokens that condition the window after it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sound:
    """A window as the engine takes it; see ``Row``."""

    features: Features
    samples: Samples | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipDecoder:
    """Decodes the clips of one request with one model."""

    recognizer: Recognizer
    tokenizer: Tokenizer
    options: TranscribeOptions
    request: RequestInfo
    meter: Meter
    remaining_s: Callable[[], float]
    """Audio that the request still has to do, for the queue's order."""
    run_id: str = field(default_factory=lambda: uuid4().hex)
    """Keeps windows of different runs apart; request ids come from clients and may repeat."""
    _sounds: dict[int, _Sound] = field(default_factory=dict[int, _Sound])
    """Windows whose language was detected, by start, until they are decoded."""

    async def run(
        self, next_window: NextWindow, language: str | None, *, after: WindowDone | None = None
    ) -> AsyncGenerator[WindowDone, None]:
        """The windows of a clip in order; each begins where the text of the one before ended.

        Where the clip is the whole file, it can go on ``after`` the last window of an earlier run.
        """
        multilingual = self.recognizer.info.is_multilingual
        prompter = Prompter(
            self.tokenizer, self.options, multilingual=multilingual, history=after.history if after else None
        )
        position = after.end if after else 0
        while (window := await next_window(position)) is not None:
            if self.options.language_per_window and self.options.language is None and multilingual:
                language, _ = await self.detect_language([window])
            decoding, silent = await self._decode_window(window, prompter.build(language))
            tokens = () if silent else decoding.tokens
            split = split_tokens(tokens, window, self.tokenizer, packed=not self.options.sequential)
            if not silent:
                prompter.accept([token for piece in split.pieces for token in piece.tokens], decoding.temperature)
            position += split.advance
            yield WindowDone(
                start=window.start,
                end=window.to_file(split.advance, is_end=True),
                segments=tuple(self._segments(split.pieces, decoding, window, language)),
                history=prompter.history,
            )

    async def detect_language(self, windows: Sequence[Window]) -> tuple[str, float]:
        """Language and probability by a vote of the windows, weighted by their speech."""
        answers = await asyncio.gather(*(self._detect(window) for window in windows))
        weights = [sum(span.length for span in window.speech) / 16_000 + 1e-3 for window in windows]
        return vote(list(zip(answers, weights, strict=True)), self.options.languages)

    async def _detect(self, window: Window) -> Decoding:
        sound = await self._make_sound(window)
        self._sounds[window.start] = sound
        frames = context_frames(len(window.samples), self.options.audio_context)
        options = DecodingOptions(task="detect_language", context_frames=frames)
        return await self._ask(window, sound, (self.tokenizer.sot,), options)

    async def _make_sound(self, window: Window) -> _Sound:
        info = self.recognizer.info
        if info.wants_samples:
            return await call_in_thread(self.meter.add_features, _window_samples, window)
        return await call_in_thread(self.meter.add_features, _window_features, window, info.n_mels)

    async def _decode_window(self, window: Window, prompt: tuple[int, ...]) -> tuple[Decoding, bool]:
        """The accepted decoding, and whether the window is silent."""
        sound = self._sounds.pop(window.start, None)
        if sound is None:
            sound = await self._make_sound(window)
        self.meter.windows += 1
        if (frames := context_frames(len(window.samples), self.options.audio_context)) < N_FRAMES:
            options = decoding_options(self.options, self.options.temperatures[0], frames)
            decoding = await self._ask(window, sound, prompt, options)
            text = self.tokenizer.decode(decoding.tokens).strip()
            if trust_short_context(decoding, text, len(window.samples), self.tokenizer.eot, self.options):
                return decoding, False
            self.meter.fallbacks += 1
        tries: list[tuple[Decoding, str]] = []
        for temperature in self.options.temperatures:
            decoding = await self._ask(window, sound, prompt, decoding_options(self.options, temperature))
            text = self.tokenizer.decode(decoding.tokens).strip()
            verdict = judge(decoding, text, self.options)
            if verdict is not Verdict.RETRY:
                return decoding, verdict is Verdict.SILENT
            tries.append((decoding, text))
        return choose_best(tries, self.options), False

    async def _ask(self, window: Window, sound: _Sound, prompt: tuple[int, ...], options: DecodingOptions) -> Decoding:
        key = f"{self.run_id}:{window.clip_index}:{window.start}:{options.context_frames}"
        row = Row(key=key, features=sound.features, prompt=prompt, options=options, samples=sound.samples)
        answer = await self.recognizer.decode(row, self.request, remaining_s=self.remaining_s())
        self.meter.add_answer(answer)
        if options.temperature > self.options.temperatures[0]:
            self.meter.fallbacks += 1
        return answer.decoding

    def _segments(
        self, pieces: Sequence[Piece], decoding: Decoding, window: Window, language: str | None
    ) -> list[Segment]:
        whole = self.tokenizer.decode(decoding.tokens).strip()
        return [
            Segment(
                id=0,  # numbered when the transcript is put together
                start=samples_to_seconds(window.to_file(piece.start)),
                end=samples_to_seconds(window.to_file(piece.end, is_end=True)),
                text=self.tokenizer.decode(piece.tokens),
                tokens=piece.tokens,
                temperature=decoding.temperature,
                avg_logprob=decoding.avg_logprob,
                compression_ratio=compression_ratio(whole),
                no_speech_prob=decoding.no_speech_prob,
                language=language,
                words=self._words(piece, decoding, window, language),
                logprobs=self._logprobs(piece, decoding),
            )
            for piece in pieces
        ]

    def _words(self, piece: Piece, decoding: Decoding, window: Window, language: str | None) -> tuple[Word, ...] | None:
        if not self.options.times_words or decoding.token_times is None or decoding.token_probabilities is None:
            return None
        text = self._text_tokens(piece)
        own = slice(piece.text_offset, piece.text_offset + len(text))
        times, probabilities = decoding.token_times[own], decoding.token_probabilities[own]
        words = group_words(text, times, probabilities, self.tokenizer, language)
        return tuple(place_words(words, window, piece.start, piece.end))

    def _logprobs(self, piece: Piece, decoding: Decoding) -> tuple[TokenLogprob, ...] | None:
        if not self.options.logprobs or decoding.token_logprobs is None:
            return None
        text = self._text_tokens(piece)
        logprobs = decoding.token_logprobs[piece.text_offset : piece.text_offset + len(text)]
        return tuple(
            TokenLogprob(
                token=self.tokenizer.decode([token]), bytes=tuple(self.tokenizer.token_bytes(token)), logprob=p
            )
            for token, p in zip(text, logprobs, strict=False)
        )

    def _text_tokens(self, piece: Piece) -> list[int]:
        return [token for token in piece.tokens if token < self.tokenizer.eot]


def decoding_options(options: TranscribeOptions, temperature: float, frames: int = N_FRAMES) -> DecodingOptions:
    """What the engine is told for one try."""
    return DecodingOptions(
        task=options.task,
        temperature=temperature,
        beam_size=options.beam_size,
        best_of=options.best_of,
        patience=options.patience,
        length_penalty=options.length_penalty,
        repetition_penalty=options.repetition_penalty,
        no_repeat_ngram_size=options.no_repeat_ngram_size,
        suppress_tokens=options.suppress_tokens,
        without_timestamps=options.without_timestamps,
        max_initial_timestamp=options.max_initial_timestamp,
        max_new_tokens=options.max_new_tokens,
        word_timestamps=options.times_words,
        logprobs=options.logprobs,
        context_frames=frames,
    )


def _window_features(window: Window, n_mels: int) -> _Sound:
    return _Sound(features=log_mel(window.samples, n_mels, before=window.before, after=window.after))


def _window_samples(window: Window) -> _Sound:
    # The features have no values here, but their number of frames.
    frames = samples_to_frames(window.samples.size)
    return _Sound(
        features=np.zeros((0, frames), np.float32),
        samples=with_margins(window.samples, before=window.before, after=window.after),
    )

"""The run of a request, from a file to a transcript; the same for HTTP, jobs and the command line."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import BinaryIO

from auricle.audio.decode import decode_audio, decode_channels
from auricle.errors import UnsupportedOption
from auricle.pipeline.assemble import Assembler, in_order_of_time
from auricle.pipeline.channels import ChannelClipper, ClipSource, check_channels, spoken_by
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint, ClipResult
from auricle.pipeline.clip import ClipDecoder
from auricle.pipeline.diarize import MakeDiarizer, listening
from auricle.pipeline.meter import Meter
from auricle.pipeline.models import Models
from auricle.pipeline.ordered import map_in_order
from auricle.pipeline.reader import RollingAudio, call_in_thread, read_blocks
from auricle.pipeline.shelf import Model
from auricle.types import Clip, ClipDone, RequestInfo, Samples, Span, TranscribeOptions, Transcript, Window
from auricle.units import N_FFT, N_SAMPLES, samples_to_seconds
from auricle.windows.clips import Clipper
from auricle.windows.cut import cut_window, plain_window

_VOTERS = 3
"""Clips whose language is detected before the first one is decoded."""

_MARGIN = N_FFT // 2
"""Neighbouring samples that the features of a window's edges need."""

Blocks = AsyncGenerator[Samples, None]
Source = Path | BinaryIO
Report = Callable[[str, Transcript], None]
"""Takes the name under which the model is loaded, and the transcript."""


class Transcriber:
    """Turns audio into transcripts with the models it is given.

    ``max_windows_in_flight`` bounds the memory of a request; ``max_audio_s`` the decoded length of a file;
    ``report`` is told of each transcript; ``make_diarizer`` makes who tells speakers apart, None where nobody does.
    """

    def __init__(
        self,
        models: Models,
        *,
        max_windows_in_flight: int,
        max_audio_s: float | None,
        report: Report | None = None,
        make_diarizer: MakeDiarizer | None = None,
    ) -> None:
        self._models = models
        self._report = report
        self._make_diarizer = make_diarizer
        self._max_windows_in_flight = max_windows_in_flight
        self._max_audio_s = max_audio_s

    async def run(
        self, source: Source, options: TranscribeOptions, *, model: str | None, request: RequestInfo
    ) -> Transcript:
        """The transcript of ``source``; the errors are those of ``stream``."""
        async with aclosing(self.stream(source, options, model=model, request=request)) as parts:
            async for part in parts:
                if isinstance(part, Transcript):
                    return part
        raise AssertionError("a stream ends with its transcript")

    async def stream(
        self,
        source: Source,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        checkpoint: Checkpoint = FROM_THE_START,
    ) -> AsyncGenerator[ClipDone | Transcript, None]:
        """Parts in file order as they are done, the whole Transcript last; those of the ``checkpoint`` at once.

        Speakers are known at the end: the parts have none, and the Transcript may have more segments than they.

        Raises InputError for audio or options that cannot be used, NotFound for a model that cannot be had, Busy
        where the queue is full or the deadline has passed, EngineError where the network cannot be run.
        """
        started = perf_counter()
        if request.on_start is not None:
            request.on_start()
        async with (
            self._models.lease(model) as loaded,
            aclosing(
                self._stream(source, options, loaded, request=request, checkpoint=checkpoint, started=started)
            ) as parts,
        ):
            async for part in parts:
                yield part

    async def _stream(
        self,
        source: Source,
        options: TranscribeOptions,
        loaded: Model,
        *,
        request: RequestInfo,
        checkpoint: Checkpoint,
        started: float,
    ) -> AsyncGenerator[ClipDone | Transcript, None]:
        options, warnings = fit_options(options, loaded)
        check_channels(options)
        meter = Meter(on_stage=request.on_stage)
        assembler = Assembler()
        decoder = ClipDecoder(
            recognizer=loaded.recognizer,
            tokenizer=loaded.tokenizer,
            options=options,
            request=request,
            meter=meter,
            # Decoding runs only a little ahead: what the file says of its length tells a long one from a short one.
            remaining_s=lambda: max(
                0.0, max(samples_to_seconds(meter.samples), request.audio_s or 0.0) - assembler.position
            ),
        )
        language: tuple[str | None, float | None] = (options.language, None)
        async with listening(self._make_diarizer, options, meter) as listener:
            with loaded.recognizer.admit(request):
                by_channel = ChannelClipper(options.vad_options) if options.channels == "separate" else None
                decode = decode_audio if by_channel is None else decode_channels
                blocks = read_blocks(decode(source, max_audio_s=self._max_audio_s), meter)
                if not options.sequential:
                    clips = _read_clips(blocks, by_channel or Clipper(options.vad_options), meter)
                    if listener is not None:
                        clips = listener.clips(clips)
                    results = self._packed(decoder, clips, checkpoint)
                else:
                    if listener is not None:
                        blocks = listener.blocks(blocks, Clipper(options.vad_options))
                    results = self._sequential(decoder, blocks, checkpoint)
                async with aclosing(blocks), aclosing(results):
                    async for result in results:
                        language = result.language
                        part = assembler.add(result.pieces, result.windows)
                        if request.on_progress is not None:
                            request.on_progress(assembler.position)
                        if part.segments:
                            yield part
            if listener is not None:
                assembler.segments = await listener.assign(assembler.segments, loaded.tokenizer)
            if by_channel is not None:
                assembler.segments = in_order_of_time(assembler.segments)
                if by_channel.channels == 1:
                    warnings = [*warnings, "the audio has one channel; all of it is by speaker A"]
        transcript = assembler.finish(
            options,
            language=language[0],
            language_probability=language[1],
            warnings=warnings,
            timings=meter.timings(perf_counter() - started),
        )
        if self._report is not None:
            self._report(loaded.name, transcript)
        yield transcript

    async def _packed(
        self, decoder: ClipDecoder, clips: AsyncGenerator[Clip, None], checkpoint: Checkpoint
    ) -> AsyncGenerator[ClipResult, None]:
        """Speech packed into clips, decoded side by side."""
        language = checkpoint.language or (decoder.options.language, None)
        voters: list[Clip] = []
        if _must_detect(decoder) and not checkpoint.done:
            async for clip in clips:
                voters.append(clip)
                if len(voters) == _VOTERS:
                    break
            if voters:
                language = await decoder.detect_language([_first_window(clip) for clip in voters])

        async def decode(clip: Clip) -> ClipResult:
            done = checkpoint.done.get(clip.index)
            if done is not None and done.pieces == clip.pieces:
                return done

            async def next_window(position: int) -> Window | None:
                return cut_window(clip, position) if position < len(clip.samples) else None

            windows = tuple([window async for window in decoder.run(next_window, language[0])])
            if clip.speaker is not None:
                windows = tuple(spoken_by(window, clip.speaker) for window in windows)
            result = ClipResult(pieces=clip.pieces, windows=windows, language=language)
            checkpoint.save(clip.index, result)
            return result

        async with aclosing(clips):
            results = map_in_order(_chain(voters, clips), decode, limit=self._max_windows_in_flight)
            async with aclosing(results):
                async for result in results:
                    yield result

    async def _sequential(
        self, decoder: ClipDecoder, blocks: Blocks, checkpoint: Checkpoint
    ) -> AsyncGenerator[ClipResult, None]:
        """The whole file as one clip, window after window, as openai/whisper does."""
        audio = RollingAudio(blocks)
        language = checkpoint.language or (decoder.options.language, None)
        done = checkpoint.from_the_start()

        async def next_window(position: int) -> Window | None:
            before, samples, after = await audio.read(position, N_SAMPLES, _MARGIN)
            return plain_window(samples, start=position, before=before, after=after) if len(samples) else None

        for result in done:
            yield result
        if _must_detect(decoder) and not done and (first := await next_window(0)) is not None:
            language = await decoder.detect_language([first])
        last = done[-1].windows[-1] if done else None
        async with aclosing(decoder.run(next_window, language[0], after=last)) as windows:
            number = len(done)
            async for window in windows:
                pieces = (Span(start=window.start, end=window.end),)
                result = ClipResult(pieces=pieces, windows=(window,), language=language)
                checkpoint.save(number, result)
                number += 1
                yield result


def fit_options(options: TranscribeOptions, model: Model) -> tuple[TranscribeOptions, list[str]]:
    """The options as the model can use them, and warnings about those that it ignores.

    Raises UnsupportedOption where ignoring an option would give a wrong answer.
    """
    info, known = model.info, model.tokenizer.language_ids
    if options.task == "translate" and not info.can_translate:
        raise UnsupportedOption(
            f"model {info.name!r} cannot translate; use a multilingual one such as 'small' or 'large-v3'", param="model"
        )
    asked = [language for language in (options.language, *options.languages) if language]
    if not info.is_multilingual:
        ignored = sorted({language for language in asked if language != "en"})
        warnings = [f"model {info.name!r} knows English only; ignored language {', '.join(ignored)}"] if ignored else []
        return replace(options, language="en", languages=()), warnings
    unknown = [language for language in asked if language not in known]
    if unknown:
        raise UnsupportedOption(f"model {info.name!r} does not know the language {unknown[0]!r}", param="language")
    if len(options.languages) == 1 and options.language is None:
        return replace(options, language=options.languages[0]), []
    if options.language is not None and options.languages and options.language not in options.languages:
        return options, [f"language {options.language!r} was given, so languages {list(options.languages)} are ignored"]
    return options, []


def _must_detect(decoder: ClipDecoder) -> bool:
    return decoder.options.language is None and not decoder.options.language_per_window


def _first_window(clip: Clip) -> Window:
    return cut_window(clip, 0)


async def _read_clips(blocks: Blocks, clipper: ClipSource, meter: Meter) -> AsyncGenerator[Clip, None]:
    """Clips as they become complete; speech is looked for in a worker thread."""
    async for block in blocks:
        for clip in await call_in_thread(meter.add_vad, clipper.feed, block):
            yield clip
    for clip in await call_in_thread(meter.add_vad, clipper.finish):
        yield clip


async def _chain(first: list[Clip], rest: AsyncIterator[Clip]) -> AsyncIterator[Clip]:
    for clip in first:
        yield clip
    async for clip in rest:
        yield clip

"""``auricle transcribe``: files, folders or standard input to text and subtitles."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auricle.cli import transcribe_flags as flags
from auricle.cli.console import say
from auricle.cli.exit_codes import OK
from auricle.cli.settings_flags import takes_settings
from auricle.cli.sources import DASH, Source, collect_sources, spool
from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.logs import set_up_logging

if TYPE_CHECKING:
    from auricle.formats.options import FormatOptions
    from auricle.types import Transcript

_SETTINGS = (
    "model",
    "engine",
    "device",
    "device_index",
    "compute_type",
    "threads",
    "max_batch",
    "beam_size",
    "audio_context",
    "diarization",
    "pyannote_model",
    "sherpa_segmentation_model",
    "sherpa_embedding_model",
    "vad",
    "max_audio_s",
    "data_dir",
    "offline",
    "api_key",
)
_NAMES_SHOWN = 5


@takes_settings(*_SETTINGS, panel="Model and engine")
def transcribe(
    *,
    settings: Settings,
    files: flags.Files,
    format: flags.Format = "text",  # noqa: A002 - the name of the flag
    output: flags.Output = None,
    output_dir: flags.OutputDir = None,
    overwrite: flags.Overwrite = False,
    words: flags.Words = False,
    max_line_width: flags.MaxLineWidth = None,
    max_lines: flags.MaxLines = None,
    min_duration_s: flags.MinDuration = None,
    max_duration_s: flags.MaxDuration = None,
    highlight_words: flags.HighlightWords = False,
    language: flags.Language = None,
    languages: flags.Languages = None,
    task: flags.Task = "transcribe",
    prompt: flags.Prompt = None,
    keywords: flags.Keywords = None,
    temperature: flags.Temperature = None,
    condition_on_previous_text: flags.ConditionOnPreviousText = False,
    diarize: flags.Diarize = False,
    channels: flags.Channels = "mix",
    speakers: flags.Speakers = None,
    min_speakers: flags.MinSpeakers = None,
    max_speakers: flags.MaxSpeakers = None,
    known: flags.Known = None,
    recursive: flags.Recursive = False,
    server: flags.Server = None,
    priority: flags.Priority = None,
    jobs: flags.Jobs = 4,
    quiet: flags.Quiet = False,
) -> None:
    """Transcribe audio and video files.

    \b
    auricle transcribe talk.mp3
    auricle transcribe talk.mp3 --format srt > talk.srt
    auricle transcribe talk.mp3 --language de --task translate --words --format verbose_json
    auricle transcribe talk.mp3 --diarize --speakers 2 --known Ann=ann.wav --format vtt
    auricle transcribe call.wav --channels separate --format srt
    auricle transcribe recordings/ --recursive --format all --output-dir texts
    ffmpeg -i rtsp://camera -t 60 -f wav - | auricle transcribe -
    auricle transcribe talk.mp3 --server http://127.0.0.1:8000

    One file goes to standard output. Several become files named after them; a file that exists is left alone,
    and its audio is passed over, unless --overwrite is given.
    """
    from auricle.cli.backends import run
    from auricle.cli.options import parse_options, parse_priority
    from auricle.cli.outputs import parse_formats, plan_outputs
    from auricle.cli.speakers import parse_channels, parse_diarization, parse_known
    from auricle.formats.options import FormatOptions, SubtitleOptions
    from auricle.formats.registry import SPEAKERS_FORMAT

    set_up_logging(settings.log_level if "log_level" in settings.model_fields_set else "warning")
    if server and priority:
        raise InvalidOption("--priority orders the work of this process; a server orders its own", param="priority")
    voices = parse_known(known or ())
    counts = {"speakers": speakers, "min_speakers": min_speakers, "max_speakers": max_speakers}
    diarize = diarize or bool(voices) or any(count is not None for count in counts.values())
    layout = parse_channels(channels, diarize=diarize)
    formats = parse_formats(format, speakers=diarize or layout == "separate")
    diarization = None
    if diarize or (SPEAKERS_FORMAT in formats and layout == "mix"):
        diarization = parse_diarization(settings, server=server, **counts)
    is_one_file = len(files) == 1 and not files[0].is_dir()
    to_stdout = output == DASH or (is_one_file and not output and not output_dir)
    if (output or to_stdout) and (output_dir or not is_one_file or len(formats) != 1):
        raise InvalidOption("standard output and --output take one file in one format; --output-dir takes more")
    rules = FormatOptions(
        words=words,
        subtitles=SubtitleOptions(
            max_line_width=max_line_width,
            max_lines=max_lines,
            min_duration_s=min_duration_s,
            max_duration_s=max_duration_s,
            highlight_words=highlight_words,
        ),
    )
    options = parse_options(
        settings,
        task=task,
        language=language,
        languages=languages,
        prompt=prompt,
        keywords=keywords,
        temperature=temperature,
        condition_on_previous_text=condition_on_previous_text,
        # As on the server: these rules cut between words, so their times are needed.
        words=words or highlight_words or max_line_width is not None or max_duration_s is not None,
        diarization=diarization,
        channels=layout,
    )
    with ExitStack() as stack:
        sources = _open_sources(stack, files, max_mb=settings.max_upload_mb, recursive=recursive)
        if to_stdout:
            deliver = _to_stdout(formats[0], rules)
        else:
            if output_dir:
                output_dir.mkdir(parents=True, exist_ok=True)
            plan = {sources[0]: {formats[0]: output}} if output else plan_outputs(sources, formats, output_dir)
            if not output and not overwrite:
                sources = _leave_out_done(sources, plan)
                if not sources:
                    return
            deliver = _to_files(plan, rules)
        work = run(
            sources,
            deliver,
            options,
            settings=settings,
            server=server,
            priority=parse_priority(priority, files=len(sources)),
            at_once=jobs,
            quiet=quiet,
            known=voices,
        )
        code = asyncio.run(work)
    if code != OK:
        raise typer.Exit(code)


def _open_sources(stack: ExitStack, files: Sequence[Path], *, max_mb: float, recursive: bool) -> list[Source]:
    from auricle.cli.backends import audio_seconds

    named = [file for file in files if file != DASH]
    if missing := [file for file in named if not file.exists()]:
        raise InvalidOption(f"there is no file {missing[0]}")
    sources, skipped = collect_sources(
        named, recursive=recursive, is_media=lambda path: audio_seconds(path) is not None
    )
    if skipped:
        names = ", ".join(str(path) for path in skipped[:_NAMES_SHOWN]) + (", …" if len(skipped) > _NAMES_SHOWN else "")
        say(f"skipped: {len(skipped)} files that are not audio or video: {names}")
    if len(named) < len(files):
        sources.insert(files.index(DASH), stack.enter_context(spool(sys.stdin.buffer, max_mb=max_mb)))
    if not sources:
        raise InvalidOption("there is no audio or video in " + ", ".join(str(file) for file in files))
    return sources


def _leave_out_done(sources: Sequence[Source], plan: dict[Source, dict[str, Path]]) -> list[Source]:
    left: list[Source] = []
    for source in sources:
        present = [path for path in plan[source].values() if path.exists()]
        if present:
            say(f"skipped: {source.name}: {present[0]} exists; --overwrite replaces it")
        else:
            left.append(source)
    return left


def _to_stdout(form: str, rules: "FormatOptions") -> "Callable[[Source, Transcript], str]":
    from auricle.formats.registry import render

    def deliver(source: Source, transcript: "Transcript") -> str:
        body = render(transcript, form, rules).text
        sys.stdout.buffer.write((body if body.endswith("\n") else body + "\n").encode())
        sys.stdout.buffer.flush()
        return ""

    return deliver


def _to_files(plan: dict[Source, dict[str, Path]], rules: "FormatOptions") -> "Callable[[Source, Transcript], str]":
    from auricle.cli.outputs import write_output
    from auricle.formats.registry import render

    def deliver(source: Source, transcript: "Transcript") -> str:
        for form, path in plan[source].items():
            write_output(path, render(transcript, form, rules).text)
        first, *more = plan[source].values()
        return f" -> {first}" + "".join(f", {path.name}" for path in more)

    return deliver

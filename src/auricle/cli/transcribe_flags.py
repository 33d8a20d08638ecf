"""The flags of ``auricle transcribe``, as types of its parameters."""

from pathlib import Path
from typing import Annotated

import typer

_OUTPUT = "Output"
_SUBTITLES = "Subtitles"
_SPEECH = "Speech"
_SPEAKERS = "Speakers"

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE|DIR|-",
        help="Audio or video files, folders of them, or `-` for standard input.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Look into folders of folders too.")]
Server = Annotated[
    str | None, typer.Option(metavar="URL", help="Send the files to a running server instead of working here.")
]
Priority = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="`realtime`, `interactive` or `batch`; by default batch for several files."),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Files in progress at once.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no summary.")]

Format = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="`text`, `json`, `verbose_json`, `srt`, `vtt`, `tsv`, `diarized_json`, `all`, or several with commas "
        "between.",
        rich_help_panel=_OUTPUT,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|-",
        help="Where the result of one file goes; `-` is standard output, and the default for one file.",
        rich_help_panel=_OUTPUT,
    ),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        metavar="DIR",
        help="Write NAME.FORMAT files here. Several files without it: each beside its audio.",
        rich_help_panel=_OUTPUT,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files of earlier runs.", rich_help_panel=_OUTPUT)]
Words = Annotated[
    bool, typer.Option("--words", help="Find the time of each word (for verbose_json).", rich_help_panel=_OUTPUT)
]

MaxLineWidth = Annotated[int | None, typer.Option(help="Characters of a line.", rich_help_panel=_SUBTITLES)]
MaxLines = Annotated[int | None, typer.Option(help="Lines of a cue.", rich_help_panel=_SUBTITLES)]
MinDuration = Annotated[float | None, typer.Option(help="Seconds of the shortest cue.", rich_help_panel=_SUBTITLES)]
MaxDuration = Annotated[float | None, typer.Option(help="Seconds of the longest cue.", rich_help_panel=_SUBTITLES)]

HighlightWords = Annotated[
    bool,
    typer.Option(
        "--highlight-words", help="A cue for each word, with that word underlined.", rich_help_panel=_SUBTITLES
    ),
]

Language = Annotated[
    str | None,
    typer.Option("--language", "-l", help="Code or English name; without it, it is detected.", rich_help_panel=_SPEECH),
]
Languages = Annotated[
    str | None, typer.Option(help="What to detect among, with commas between: en,de.", rich_help_panel=_SPEECH)
]
Task = Annotated[str, typer.Option(help="`transcribe`, or `translate` into English.", rich_help_panel=_SPEECH)]
Prompt = Annotated[str | None, typer.Option(help="Text before the first words, as a model.", rich_help_panel=_SPEECH)]
Keywords = Annotated[
    str | None, typer.Option(help="Names and terms to expect, with commas between.", rich_help_panel=_SPEECH)
]
Temperature = Annotated[
    str | None,
    typer.Option(
        help="One number, or a ladder such as 0,0.4,0.8 that poor windows climb; by default 0 to 1 by 0.2.",
        rich_help_panel=_SPEECH,
    ),
]
ConditionOnPreviousText = Annotated[
    bool,
    typer.Option(
        "--condition-on-previous-text",
        help="Decode a file in order, each window prompted with the text before it; slower.",
        rich_help_panel=_SPEECH,
    ),
]

Diarize = Annotated[
    bool,
    typer.Option(
        "--diarize",
        help="Tell speakers apart; srt, vtt, tsv, verbose_json and diarized_json show them.",
        rich_help_panel=_SPEAKERS,
    ),
]
Channels = Annotated[
    str,
    typer.Option(
        "--channels",
        metavar="mix|separate",
        help="`separate` takes each channel for a speaker, as in recorded calls.",
        rich_help_panel=_SPEAKERS,
    ),
]
Speakers = Annotated[
    int | None, typer.Option("--speakers", help="How many speak, where that is known.", rich_help_panel=_SPEAKERS)
]
MinSpeakers = Annotated[int | None, typer.Option(help="How many speak at least.", rich_help_panel=_SPEAKERS)]
MaxSpeakers = Annotated[int | None, typer.Option(help="How many speak at most.", rich_help_panel=_SPEAKERS)]
Known = Annotated[
    list[str] | None,
    typer.Option(
        "--known",
        metavar="NAME=FILE",
        help="A speaker to be called by name, with 2 to 10 s of that voice; up to 4 times.",
        rich_help_panel=_SPEAKERS,
    ),
]

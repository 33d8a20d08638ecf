"""What ``auricle demo`` asks the server, and how it shows the answers."""

import time
from dataclasses import dataclass

import openai
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auricle.cli.child_server import ChildServer
from auricle.cli.compare import count_word_errors
from auricle.cli.samples import Sample, list_samples

_MODEL = "whisper-1"
"""The name that programs for OpenAI's API have in them; here it means the server's own model."""
_BROKEN_FROM = 0.5
"""Share of wrong words that the model stays far below; from here on something is broken."""
_WIDTH = 110
"""Of the output where it is not a terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    sample: Sample
    text: str
    language: str
    audio_s: float
    elapsed_s: float


def show_all(server: ChildServer) -> bool:
    """Make all calls and print the answers; whether they are about right."""
    console = Console(highlight=False)
    out = console if console.is_terminal else Console(highlight=False, width=_WIDTH)
    samples = {sample.path.stem: sample for sample in list_samples()}
    out.print(f"The server is ready at {server.url} after {server.ready_s:.1f} s.")
    out.print(
        "Its model, nano, is for trying out only: about 1,000 words, in a few voices. Real ones: auricle models list"
    )
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=server.api_key, http_client=openai.DefaultHttpxClient(trust_env=False)
    ) as client:
        heard = [_hear(client, sample) for sample in samples.values()]
        out.print(_table(heard))
        shown = [
            _show_words(out, client, samples["human_digits"]),
            _show_srt(out, client, samples["pauses"]),
            _show_stream(out, client, samples["pauses"]),
        ]
    counts = [count_word_errors(one.sample.text, one.text) for one in heard]
    wrong, words = sum(count for count, _ in counts), sum(count for _, count in counts)
    audio_s, elapsed_s = sum(one.audio_s for one in heard), sum(one.elapsed_s for one in heard)
    out.print(
        f"\n{words - wrong} of {words} words right; {audio_s:.1f} s of audio in {elapsed_s:.1f} s, "
        f"{audio_s / elapsed_s:.0f} times faster than it is spoken."
    )
    return all(shown) and wrong < _BROKEN_FROM * words


def _hear(client: openai.OpenAI, sample: Sample) -> _Heard:
    start = time.monotonic()
    answer = client.audio.transcriptions.create(model=_MODEL, file=sample.path, response_format="verbose_json")
    return _Heard(
        sample=sample,
        text=answer.text,
        language=answer.language,
        audio_s=float(answer.duration),
        elapsed_s=time.monotonic() - start,
    )


def _table(heard: list[_Heard]) -> Table:
    table = Table(title="\nresponse_format=verbose_json", title_justify="left", show_lines=True)
    table.add_column("file")
    table.add_column("heard, and what is really said", ratio=1)
    table.add_column("language")
    for name in ("wrong words", "audio s", "time s", "RTFx"):
        table.add_column(name, justify="right")
    for one in heard:
        wrong, words = count_word_errors(one.sample.text, one.text)
        table.add_row(
            one.sample.path.name,
            Text.assemble(one.text, "\n", (one.sample.text, "dim")),
            one.language,
            f"{wrong} of {words}",
            f"{one.audio_s:.1f}",
            f"{one.elapsed_s:.2f}",
            f"{one.audio_s / one.elapsed_s:.0f}",
        )
    return table


def _show_words(out: Console, client: openai.OpenAI, sample: Sample) -> bool:
    answer = client.audio.transcriptions.create(
        model=_MODEL, file=sample.path, response_format="verbose_json", timestamp_granularities=["word"]
    )
    words = answer.words or []
    _head(out, f"{sample.path.name}, timestamp_granularities=[word]")
    out.print(Text("  ".join(f"{word.word} {word.start:.2f}-{word.end:.2f}" for word in words)))
    return bool(words)


def _show_srt(out: Console, client: openai.OpenAI, sample: Sample) -> bool:
    body = client.audio.transcriptions.create(model=_MODEL, file=sample.path, response_format="srt")
    _head(out, f"{sample.path.name}, response_format=srt")
    out.print(Text(body.strip()))
    return "-->" in body


def _show_stream(out: Console, client: openai.OpenAI, sample: Sample) -> bool:
    _head(out, f"{sample.path.name}, stream=True")
    start = time.monotonic()
    deltas: list[str] = []
    final = ""
    for event in client.audio.transcriptions.create(model=_MODEL, file=sample.path, stream=True):
        if event.type == "transcript.text.delta":
            deltas.append(event.delta)
            out.print(Text(f"{time.monotonic() - start:5.2f} s {event.delta.strip()}"))
        elif event.type == "transcript.text.done":
            final = event.text
    return bool(final) and "".join(deltas).strip() == final.strip()


def _head(out: Console, title: str) -> None:
    out.print(Text(f"\n{title}", style="italic"))

"""Flags of ``auricle transcribe`` to TranscribeOptions; every wrong value is an InvalidOption that names its flag."""

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.speaker_types import Diarization
from auricle.tokenizer import parse_language
from auricle.types import Channels, Priority, Task, TranscribeOptions

_TASKS: tuple[Task, ...] = ("transcribe", "translate")


def parse_options(
    settings: Settings,
    *,
    task: str,
    language: str | None,
    languages: str | None,
    prompt: str | None,
    keywords: str | None,
    temperature: str | None,
    condition_on_previous_text: bool,
    words: bool,
    diarization: Diarization | None = None,
    channels: Channels = "mix",
) -> TranscribeOptions:
    """What the pipeline is asked to do."""
    defaults = TranscribeOptions()
    if language and languages:
        raise InvalidOption("--language names the language and --languages what to detect among; use one of them")
    return TranscribeOptions(
        task=_parse_task(task),
        language=None if language in (None, "auto") else parse_language(language),
        languages=tuple(dict.fromkeys(parse_language(name) for name in split(languages))),
        prompt=prompt,
        keywords=split(keywords),
        temperatures=_parse_temperatures(temperature) if temperature is not None else defaults.temperatures,
        condition_on_previous_text=condition_on_previous_text,
        word_timestamps=words,
        vad=settings.vad,
        beam_size=settings.beam_size,
        audio_context=settings.audio_context,
        diarization=diarization,
        channels=channels,
    )


def parse_priority(value: str | None, *, files: int) -> Priority:
    """A named class, or the one that suits the number of files."""
    if value is None:
        return Priority.BATCH if files > 1 else Priority.INTERACTIVE
    try:
        return Priority[value.upper()]
    except KeyError:
        names = ", ".join(priority.name.lower() for priority in Priority)
        raise InvalidOption(f"--priority {value!r} is none of {names}", param="priority") from None


def split(value: str | None) -> tuple[str, ...]:
    """The parts between commas, without the space around them."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def _parse_task(value: str) -> Task:
    for task in _TASKS:
        if value == task:
            return task
    raise InvalidOption(f"--task {value!r} is none of {', '.join(_TASKS)}", param="task")


def _parse_temperatures(value: str) -> tuple[float, ...]:
    try:
        ladder = tuple(float(part) for part in value.split(","))
    except ValueError:
        ladder = ()
    if not ladder or not all(0 <= step <= 1 for step in ladder):
        raise InvalidOption(
            f"--temperature {value!r} is not a number from 0 to 1, or several with commas between", param="temperature"
        )
    return ladder

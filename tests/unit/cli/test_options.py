from typing import Any

import pytest

from auricle.cli.options import parse_options, parse_priority
from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.types import Priority, TranscribeOptions


def parse(settings: Settings | None = None, **given: Any) -> TranscribeOptions:
    flags: dict[str, Any] = {
        "task": "transcribe",
        "language": None,
        "languages": None,
        "prompt": None,
        "keywords": None,
        "temperature": None,
        "condition_on_previous_text": False,
        "words": False,
    }
    return parse_options(settings or Settings(), **(flags | given))


def test_without_flags_the_options_are_the_defaults():
    assert parse() == TranscribeOptions()


def test_settings_give_the_beam_and_the_vad():
    options = parse(Settings(beam_size=2, vad=False))
    assert (options.beam_size, options.vad) == (2, False)


def test_languages_are_names_or_codes():
    assert parse(language="German").language == "de"
    assert parse(language="auto").language is None
    assert parse(languages="en, french,en").languages == ("en", "fr")


def test_keywords_are_split_at_commas():
    assert parse(keywords="Auricle, Ada Lovelace,").keywords == ("Auricle", "Ada Lovelace")


@pytest.mark.parametrize(("value", "ladder"), [("0", (0.0,)), ("0.4", (0.4,)), ("0,0.5, 1", (0.0, 0.5, 1.0))])
def test_a_temperature_is_a_number_or_a_ladder(value: str, ladder: tuple[float, ...]):
    assert parse(temperature=value).temperatures == ladder


@pytest.mark.parametrize("value", ["", "hot", "1.1", "-0.1", "nan", "0,,1"])
def test_a_wrong_temperature_is_refused(value: str):
    with pytest.raises(InvalidOption, match="--temperature"):
        parse(temperature=value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"task": "summarise"}, "--task 'summarise'"),
        ({"language": "klingon"}, "klingon"),
        ({"languages": "en,klingon"}, "klingon"),
        ({"language": "en", "languages": "de"}, "--languages"),
    ],
)
def test_a_wrong_option_is_named(flags: dict[str, Any], told: str):
    with pytest.raises(InvalidOption, match=told):
        parse(**flags)


def test_several_files_are_a_batch_unless_told_otherwise():
    assert parse_priority(None, files=1) is Priority.INTERACTIVE
    assert parse_priority(None, files=2) is Priority.BATCH
    assert parse_priority("realtime", files=2) is Priority.REALTIME
    with pytest.raises(InvalidOption, match="realtime, interactive, batch"):
        parse_priority("urgent", files=1)

import pytest

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.server.schemas import parse_form, transcribe_options


def test_the_context_is_full_unless_the_request_or_the_setting_says_otherwise() -> None:
    asked, _ = parse_form([("audio_context", "auto")])
    silent, _ = parse_form([])
    assert transcribe_options(silent, "transcribe", Settings()).audio_context == "full"
    assert transcribe_options(asked, "transcribe", Settings()).audio_context == "auto"
    assert transcribe_options(silent, "transcribe", Settings(audio_context="auto")).audio_context == "auto"


def test_another_context_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_form([("audio_context", "1500")])
    assert caught.value.param == "audio_context"
    assert "1500" in caught.value.message

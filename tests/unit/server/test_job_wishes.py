"""What a client asks for in a job."""

import json
from typing import Any

import pytest

from auricle.errors import InvalidOption
from auricle.server.job_results import result_format
from auricle.server.job_wishes import read_webhook, wish_of_form, wish_of_json

URL = "https://example.com/a.wav"


def test_json_and_form_say_the_same() -> None:
    webhook = {"url": "https://example.com/hook", "headers": {"a": "b"}}
    own = {"url": URL, "task": "translate", "webhook": webhook, "metadata": {"n": [1, None]}, "idempotency_key": "k"}
    fields = {"model": "nano", "beam_size": 2, "vad": True, "temperature": 0.5, "prompt": None}
    from_json = wish_of_json(own | fields | {"languages": ["de", "en"], "chunking_strategy": {"type": "server_vad"}})
    texts = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in own.items()]
    texts += [("model", "nano"), ("beam_size", "2"), ("vad", "true"), ("temperature", "0.5")]
    texts += [("languages[]", "de"), ("languages[]", "en"), ("chunking_strategy", '{"type": "server_vad"}')]
    assert wish_of_form(texts) == from_json
    assert from_json.metadata == {"n": [1, None]}


def test_word_times_need_no_format() -> None:
    assert ("response_format", "verbose_json") in wish_of_json({"timestamp_granularities": ["word"]}).fields
    assert result_format([("timestamp_granularities[]", "word")]).response_format == "verbose_json"


def test_a_field_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(InvalidOption, match="more than once"):
        wish_of_form([("url", URL), ("url", URL + "2")])
    with pytest.raises(InvalidOption, match="more than once"):
        result_format([("format", "srt"), ("response_format", "vtt")])


@pytest.mark.parametrize(
    "metadata", ["{", "[]", '{"a": NaN}', '{"a": 1e999}', '{"a":' * 9 + "1" + "}" * 9, json.dumps({"a": "x" * 16_384})]
)
def test_metadata_is_a_small_flat_object(metadata: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        wish_of_form([("metadata", metadata)])
    assert caught.value.param == "metadata"


@pytest.mark.parametrize("key", ["", "a\nb", "\xe9", "x" * 256])
def test_an_idempotency_key_is_short_and_printable(key: str) -> None:
    with pytest.raises(InvalidOption):
        wish_of_json({"idempotency_key": key})


def test_a_webhook_is_a_url_or_an_object() -> None:
    assert read_webhook(" https://a.example/x ").url == "https://a.example/x"
    assert read_webhook('{"url": "https://a.example", "secret": "s"}').secret == "s"
    assert read_webhook({"url": "https://a.example"}).style == "standard"


@pytest.mark.parametrize("value", [1, [], {}, {"url": 1}, {"url": URL, "secret": 5}, {"url": URL, "style": "x"}, "{"])
def test_anything_else_is_no_webhook(value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        read_webhook(value)
    assert (caught.value.param or "").startswith("webhook")


def test_what_is_wrong_with_a_webhook_is_told_without_its_secret() -> None:
    with pytest.raises(InvalidOption) as caught:
        read_webhook({"url": URL, "secret": {"whsec_hidden": 1}})
    assert "hidden" not in caught.value.message

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.config import Settings
from auricle.errors import InputError, InvalidOption
from auricle.server.schemas import AudioForm, form_schema, format_options, parse_form, transcribe_options
from auricle.types import TranscribeOptions


def options(*fields: tuple[str, str], **settings: Any) -> TranscribeOptions:
    return transcribe_options(parse_form(fields)[0], "transcribe", Settings(**settings))


def refused(*fields: tuple[str, str]) -> InvalidOption:
    with pytest.raises(InvalidOption) as caught:
        format_options(parse_form(fields)[0])
    return caught.value


def test_without_fields_the_defaults_of_the_pipeline_and_the_settings_hold() -> None:
    assert options() == TranscribeOptions()
    assert options(beam_size=1, vad=False) == TranscribeOptions(beam_size=1, vad=False)


def test_the_request_wins_over_the_settings() -> None:
    chosen = options(("beam_size", "3"), ("vad", "true"), beam_size=1, vad=False)
    assert (chosen.beam_size, chosen.vad) == (3, True)


@pytest.mark.parametrize("name", ["languages[]", "languages"])
def test_lists_come_with_and_without_brackets(name: str) -> None:
    assert options((name, "en"), (name, "German")).languages == ("en", "de")


def test_lists_without_commas_in_their_entries_may_be_written_with_commas() -> None:
    assert options(("languages", "en, de")).languages == ("en", "de")
    assert options(("hotwords", "Auricle, Whisper")).keywords == ("Auricle", "Whisper")


def test_a_keyword_may_hold_a_comma() -> None:
    assert options(("keywords[]", "Washington, D.C.")).keywords == ("Washington, D.C.",)


@pytest.mark.parametrize(
    ("given", "expected"), [("en", "en"), ("EN", "en"), ("english", "en"), ("auto", None), ("", None)]
)
def test_a_language_is_a_code_a_name_or_auto(given: str, expected: str | None) -> None:
    assert options(("language", given)).language == expected


def test_temperature_zero_means_the_ladder_and_any_other_is_fixed() -> None:
    assert options(("temperature", "0")).temperatures == TranscribeOptions().temperatures
    assert options(("temperature", "0.4")).temperatures == (0.4,)


@pytest.mark.parametrize(
    "fields",
    [
        [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.7"),
         ("chunking_strategy[prefix_padding_ms]", "200"), ("chunking_strategy[silence_duration_ms]", "900")],
        [("chunking_strategy", json.dumps({"type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 200,
                                           "silence_duration_ms": 900}))],
    ],
)  # fmt: skip
def test_a_chunking_strategy_tunes_the_vad_in_both_spellings(fields: list[tuple[str, str]]) -> None:
    chosen = options(*fields, vad=False)
    vad = chosen.vad_options
    assert chosen.vad
    assert (vad.threshold, vad.speech_pad_ms, vad.min_silence_duration_ms) == (0.7, 200, 900)


def test_chunking_auto_turns_the_vad_on() -> None:
    assert options(("chunking_strategy", "auto"), vad=False).vad


def test_words_are_aligned_only_where_something_needs_them() -> None:
    verbose = ("response_format", "verbose_json")
    assert options(verbose, ("timestamp_granularities[]", "word")).word_timestamps
    assert options(("response_format", "srt"), ("highlight_words", "true")).word_timestamps
    assert not options(verbose, ("timestamp_granularities[]", "segment")).word_timestamps
    assert not options(("response_format", "srt")).word_timestamps


def test_granularities_choose_what_verbose_json_holds() -> None:
    verbose = ("response_format", "verbose_json")
    both = [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")]
    shapes = [format_options(parse_form([verbose, *chosen])[0]) for chosen in ([], both[:1], both)]
    assert [(shape.words, shape.segments) for shape in shapes] == [(False, True), (True, False), (True, True)]


def test_logprobs_are_asked_of_the_model_and_put_into_the_body() -> None:
    form = parse_form([("include[]", "logprobs")])[0]
    assert transcribe_options(form, "transcribe", Settings()).logprobs
    assert format_options(form).logprobs


def test_empty_values_are_as_good_as_none() -> None:
    assert options(*((name, "") for name in AudioForm.model_fields)) == TranscribeOptions()


def test_unknown_fields_are_named_not_refused() -> None:
    form, unknown = parse_form([("model", "m"), ("user", "me"), ("x[a]", "1")])
    assert form.model == "m"
    assert unknown == ["user", "x[a]"]


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("response_format", [("response_format", "xml")]),
        ("temperature", [("temperature", "1.5")]),
        ("temperature", [("temperature", "nan")]),
        ("temperature", [("temperature", "warm")]),
        ("language", [("language", "klingon")]),
        ("languages", [("languages[]", "en"), ("languages[]", "klingon")]),
        ("include", [("include[]", "everything")]),
        ("include", [("include[]", "logprobs"), ("response_format", "srt")]),
        ("timestamp_granularities", [("timestamp_granularities[]", "word")]),
        ("timestamp_granularities", [("timestamp_granularities[]", "letter"), ("response_format", "verbose_json")]),
        ("stream", [("stream", "perhaps")]),
        ("stream", [("stream", "true"), ("response_format", "srt")]),
        ("beam_size", [("beam_size", "0")]),
        ("beam_size", [("beam_size", "1000000")]),
        ("model", [("model", "a\0b")]),
        ("model", [("model", "m" * 1000)]),
        ("model", [("model", "a"), ("model", "b")]),
        ("prompt", [("prompt", "x" * 16_385)]),
        ("keywords", [("keywords[]", "x" * 257)]),
        ("keywords", [("keywords[]", str(index)) for index in range(257)]),
        ("chunking_strategy", [("chunking_strategy", "sometimes")]),
        ("chunking_strategy", [("chunking_strategy", "{not json")]),
        ("chunking_strategy", [("chunking_strategy", "{" * 100_000)]),
        ("chunking_strategy", [("chunking_strategy", "auto"), ("chunking_strategy[type]", "server_vad")]),
        ("chunking_strategy.threshold", [("chunking_strategy", '{"type": "server_vad", "threshold": 3}')]),
        ("vad", [("chunking_strategy", "auto"), ("vad", "false")]),
        ("max_line_width", [("max_line_width", "1")]),
        ("min_duration_s", [("min_duration_s", "-1")]),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(param: str, fields: list[tuple[str, str]]) -> None:
    error = refused(*fields)
    assert error.param == param
    assert param.partition(".")[0] in error.message or param.startswith("language")
    assert len(error.message) < 500


def test_an_unknown_language_is_told_how_languages_are_written() -> None:
    assert "'en'" in refused(("language", "klingon")).message


def test_the_documented_form_has_every_field_with_a_description() -> None:
    properties = form_schema()["content"]["multipart/form-data"]["schema"]["properties"]
    assert {name.removesuffix("[]") for name in properties} == {"file", *AudioForm.model_fields}
    assert all(field["description"] for field in properties.values())


names = st.one_of(
    st.sampled_from(
        [*AudioForm.model_fields, "languages[]", "chunking_strategy[type]", "chunking_strategy[", "[", "[]"]
    ),
    st.text(max_size=20),
)
values = st.one_of(
    st.sampled_from(["", "true", "auto", "{}", "[]", "null", '{"type": 1}', "0", "en"]), st.text(max_size=30)
)


@given(st.lists(st.tuples(names, values), max_size=8))
def test_whatever_arrives_is_a_form_or_a_typed_error(fields: list[tuple[str, str]]) -> None:
    with suppress(InputError):
        form, _ = parse_form(fields)
        transcribe_options(form, "transcribe", Settings())
        format_options(form)

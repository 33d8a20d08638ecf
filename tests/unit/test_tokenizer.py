import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.errors import InvalidOption, ModelNotFound
from auricle.tokenizer import LANGUAGES, Tokenizer, parse_language


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        (" English ", "en"),
        ("de-AT", "de"),
        ("pt_BR", "pt"),
        ("mandarin", "zh"),
        ("yue", "yue"),
    ],
)
def test_a_language_may_be_a_code_a_region_or_a_name(text: str, code: str):
    assert parse_language(text) == code


@pytest.mark.parametrize("text", ["", "xx", "klingon", "e" * 10_000, "\x00"])
def test_an_unknown_language_is_refused_with_a_hint(text: str):
    with pytest.raises(InvalidOption, match="ISO-639-1") as caught:
        parse_language(text)
    assert caught.value.param == "language"
    assert len(caught.value.message) < 300


def test_all_languages_of_whisper_are_known(tokenizer: Tokenizer):
    assert len(LANGUAGES) == 100
    assert set(LANGUAGES) - set(tokenizer.language_ids) == {"yue"}  # the hundredth came with large-v3


def test_special_tokens_are_where_the_multilingual_vocabulary_has_them(tokenizer: Tokenizer):
    assert (tokenizer.eot, tokenizer.sot, tokenizer.timestamp_begin) == (50257, 50258, 50364)
    sequence = tokenizer.sequence(language="de", task="translate", timestamps=False, multilingual=True)
    assert sequence == (50258, 50261, 50358, 50363)
    assert tokenizer.sequence(language="en", task="transcribe", timestamps=True, multilingual=False) == (50258,)


def test_control_tokens_cannot_be_smuggled_in_by_a_prompt(tokenizer: Tokenizer):
    assert max(tokenizer.encode("<|endoftext|><|translate|> hi <|0.00|>")) < tokenizer.eot


def test_a_folder_without_a_vocabulary_is_refused(tmp_path):
    with pytest.raises(ModelNotFound, match=r"tokenizer\.json"):
        Tokenizer(tmp_path)


@given(st.text().filter(lambda text: "<|" not in text))
def test_text_comes_back_from_its_tokens_and_from_its_words(tokenizer, text: str):
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    words = tokenizer.split_words(tokens, "en")
    assert "".join(word for word, _ in words) == text
    assert [token for _, ids in words for token in ids] == tokens

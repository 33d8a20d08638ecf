import pytest

from auricle.pipeline.prompts import MAX_PROMPT_TOKENS, Prompter
from auricle.tokenizer import Tokenizer
from auricle.types import TranscribeOptions


def prompter(tokenizer: Tokenizer, **options) -> Prompter:
    return Prompter(tokenizer, TranscribeOptions(**options), multilingual=True)


def context(tokenizer: Tokenizer, tokens: tuple[int, ...]) -> str:
    """The text before the start of transcript."""
    assert tokens[0] == tokenizer.sot_prev
    return tokenizer.decode(tokens[1 : tokens.index(tokenizer.sot)])


def test_without_prompt_or_keywords_there_is_only_the_start_sequence(tokenizer: Tokenizer):
    assert prompter(tokenizer).build("en") == tokenizer.sequence(
        language="en", task="transcribe", timestamps=True, multilingual=True
    )


def test_keywords_are_in_every_window_and_the_prompt_in_every_window_of_packed_clips(tokenizer: Tokenizer):
    builder = prompter(tokenizer, keywords=("Auricle", " Zipf "), prompt="Minutes of the meeting.")
    first = builder.build("en")
    builder.accept([440, 441], temperature=0.0)
    assert context(tokenizer, first) == " Auricle, Zipf Minutes of the meeting."
    assert builder.build("en") == first


def test_a_sequential_run_without_conditioning_uses_the_prompt_once_and_keywords_always(tokenizer: Tokenizer):
    builder = prompter(tokenizer, keywords=("Zipf",), prompt="Minutes.", vad=False)
    assert context(tokenizer, builder.build("en")) == " Zipf Minutes."
    builder.accept(tokenizer.encode(" Hello."), temperature=0.0)
    assert context(tokenizer, builder.build("en")) == " Zipf"


def test_conditioning_appends_earlier_text_and_a_hot_decoding_resets_it(tokenizer: Tokenizer):
    builder = prompter(tokenizer, condition_on_previous_text=True, prompt="Minutes.")
    builder.accept(tokenizer.encode(" Hello."), temperature=0.0)
    assert context(tokenizer, builder.build("en")) == " Minutes. Hello."
    builder.accept(tokenizer.encode(" Rubbish."), temperature=0.8)
    assert tokenizer.sot_prev not in builder.build("en")


@pytest.mark.parametrize("keywords", [(), ("word " * 500,)])
def test_the_context_never_outgrows_its_half_of_the_decoder(tokenizer: Tokenizer, keywords: tuple[str, ...]):
    builder = prompter(tokenizer, keywords=keywords, prompt="a b c " * 500, condition_on_previous_text=True)
    builder.accept(tokenizer.encode(" the end"), temperature=0.0)
    tokens = builder.build("en")
    assert tokens.index(tokenizer.sot) - 1 <= MAX_PROMPT_TOKENS
    if not keywords:
        assert context(tokenizer, tokens).endswith(" the end")

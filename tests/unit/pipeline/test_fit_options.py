from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from auricle.errors import UnsupportedOption
from auricle.pipeline.shelf import Model
from auricle.pipeline.transcriber import fit_options
from auricle.tokenizer import Tokenizer
from auricle.types import ModelInfo, TranscribeOptions

SMALL = ModelInfo(
    name="small",
    engine="fake",
    device="cpu",
    compute_type="float32",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=1,
)


def model(tokenizer: Tokenizer, **changes: Any) -> Model:
    recognizer: Any = SimpleNamespace(info=replace(SMALL, **changes))
    return Model(name=recognizer.info.name, tokenizer=tokenizer, recognizer=recognizer)


def test_a_model_that_cannot_translate_refuses_and_names_one_that_can(tokenizer: Tokenizer):
    turbo = model(tokenizer, name="turbo", can_translate=False)
    with pytest.raises(UnsupportedOption, match=r"'turbo' cannot translate.*'small'") as caught:
        fit_options(TranscribeOptions(task="translate"), turbo)
    assert caught.value.param == "model"
    assert fit_options(TranscribeOptions(), turbo) == (TranscribeOptions(), [])
    assert fit_options(TranscribeOptions(task="translate"), model(tokenizer))[0].task == "translate"


def test_an_english_model_ignores_another_language_with_a_warning(tokenizer: Tokenizer):
    english = model(tokenizer, name="base.en", is_multilingual=False, can_translate=False)
    options, warnings = fit_options(TranscribeOptions(language="de"), english)
    assert (options.language, options.languages) == ("en", ())
    assert len(warnings) == 1
    assert "de" in warnings[0]
    assert fit_options(TranscribeOptions(), english)[1] == []


def test_a_language_that_the_vocabulary_lacks_is_refused(tokenizer: Tokenizer):
    with pytest.raises(UnsupportedOption, match="'yue'"):
        fit_options(TranscribeOptions(language="yue"), model(tokenizer))


def test_one_allowed_language_needs_no_detection_and_a_given_one_outranks_the_list(tokenizer: Tokenizer):
    assert fit_options(TranscribeOptions(languages=("de",)), model(tokenizer))[0].language == "de"
    options, warnings = fit_options(TranscribeOptions(language="en", languages=("de", "fr")), model(tokenizer))
    assert options.language == "en"
    assert len(warnings) == 1

"""What makes two requests the same."""

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from auricle.reuse import key as module
from auricle.reuse.key import folder_fingerprint, result_key
from auricle.types import TranscribeOptions, VadOptions

OPTIONS = TranscribeOptions()

OTHER_VALUES: dict[str, Any] = {
    "task": "translate",
    "language": "de",
    "languages": ("de", "en"),
    "prompt": "a",
    "keywords": ("a",),
    "temperatures": (0.5,),
    "compression_ratio_threshold": None,
    "vad_options": VadOptions(threshold=0.6),
    "suppress_tokens": (),
}


def other(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    return 0.25 if value is None else value + 1


CHANGED = [
    replace(OPTIONS, **{one.name: other(getattr(OPTIONS, one.name))})
    for one in fields(TranscribeOptions)
    if one.name not in {"word_timestamps", "logprobs", *OTHER_VALUES}
] + [replace(OPTIONS, **{name: value}) for name, value in OTHER_VALUES.items()]


def key(options: TranscribeOptions = OPTIONS, **changed: Any) -> str:
    given = {"audio_sha256": "a", "model": "m", "scope": ""} | changed
    return result_key(given["audio_sha256"], given["model"], options, scope=given["scope"])


def test_equal_requests_have_equal_keys() -> None:
    assert key() == key(TranscribeOptions())
    assert len(key()) == 64


def test_every_option_that_can_change_the_text_changes_the_key() -> None:
    keys = {key(options) for options in CHANGED}
    assert len(keys | {key()}) == len(CHANGED) + 1


@pytest.mark.parametrize("extra", ["word_timestamps", "logprobs"])
def test_options_that_only_add_to_the_transcript_do_not(extra: str) -> None:
    assert key(replace(OPTIONS, **{extra: True})) == key()


def test_audio_model_scope_and_version_count(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(), key(audio_sha256="b"), key(model="n"), key(scope="someone")]
    monkeypatch.setattr(module, "__version__", "99")
    assert len({*keys, key()}) == 5


def test_parts_cannot_be_shifted_into_one_another() -> None:
    assert key(audio_sha256="ab", model="c") != key(audio_sha256="a", model="bc")


def test_a_model_folder_is_known_by_its_files(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"one")
    os.utime(model, ns=(0, 1_000))
    first = folder_fingerprint(tmp_path)
    assert folder_fingerprint(tmp_path) == first
    os.utime(model, ns=(0, 2_000))
    second = folder_fingerprint(tmp_path)
    (tmp_path / "config.json").write_bytes(b"{}")
    assert len({first, second, folder_fingerprint(tmp_path)}) == 3

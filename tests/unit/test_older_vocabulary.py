"""Models that were saved with the slower tokenizer have its three files in place of tokenizer.json."""

import json
import shutil
from pathlib import Path

import pytest

from auricle.engines.model_folder import choose_files, folder_problem
from auricle.errors import ModelNotFound
from auricle.tokenizer import LANGUAGES, Tokenizer
from samples import NANO_HF

FILES = ("config.json", "generation_config.json", "model.safetensors", "vocab.json", "merges.txt", "added_tokens.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copy(NANO_HF / name, tmp_path)
    return tmp_path


def test_it_is_the_same_vocabulary(folder: Path):
    older, newer = Tokenizer(folder), Tokenizer(NANO_HF)
    for text in (" The quick brown fox", "Größe, naïve – 東京 😀", "  two  spaces\n", "<|en|>", ""):
        assert older.encode(text) == newer.encode(text)
        assert older.decode(older.encode(text)) == newer.decode(newer.encode(text))
    for name in ("eot", "sot", "sot_prev", "transcribe", "translate", "no_timestamps", "timestamp_begin"):
        assert getattr(older, name) == getattr(newer, name)
    assert older.language_ids == newer.language_ids
    assert len(older.language_ids) >= len(LANGUAGES) - 1
    assert [older.token_bytes(token) for token in range(0, 50257, 997)] == [
        newer.token_bytes(token) for token in range(0, 50257, 997)
    ]


def test_such_a_folder_is_a_model(folder: Path):
    assert folder_problem(folder) is None
    wanted, missing = choose_files(FILES)
    assert (set(wanted), missing) == (set(FILES), [])


def test_numbers_that_leave_some_out_are_refused(folder: Path):
    added = json.loads((folder / "added_tokens.json").read_text())
    del added["<|de|>"]
    (folder / "added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(ModelNotFound, match="leaves numbers out"):
        Tokenizer(folder)


def test_without_special_tokens_it_is_no_whisper(folder: Path):
    (folder / "added_tokens.json").unlink()
    with pytest.raises(ModelNotFound, match="not a Whisper vocabulary"):
        Tokenizer(folder)


def test_a_folder_with_neither_says_so(folder: Path):
    (folder / "merges.txt").unlink()
    assert folder_problem(folder) == "it has no tokenizer.json"
    with pytest.raises(ModelNotFound, match=r"no tokenizer\.json"):
        Tokenizer(folder)

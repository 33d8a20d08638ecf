"""Whisper's tokenizer in the files that Hugging Face's libraries read, made from openai-whisper's ranks."""

import base64
import json
import shutil
from pathlib import Path

import whisper
from tokens import N_TOKENS, TIMESTAMP_BEGIN, TOKENIZER

ASSETS = Path(whisper.__file__).parent / "assets"
NORMALIZER = Path(whisper.__file__).parent / "normalizers" / "english.json"
END_OF_TEXT = "<|endoftext|>"


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and the older files of the slow tokenizer."""
    ranks = _read_ranks()
    vocabulary = {_printable(token): rank for token, rank in sorted(ranks.items(), key=lambda item: item[1])}
    merges = [" ".join(map(_printable, pair)) for pair in find_merges(ranks)]
    special = sorted(TOKENIZER.special_tokens.items(), key=lambda item: item[1])
    if len(vocabulary) + len(special) != N_TOKENS:
        raise ValueError(f"{len(vocabulary)} + {len(special)} tokens, not {N_TOKENS}")
    added = [_added_token(text, token) for text, token in special]
    names = [text for text, token in special if token < TIMESTAMP_BEGIN]
    roles = {f"{role}_token": END_OF_TEXT for role in ("bos", "eos", "unk", "pad")}

    _write(folder / "tokenizer.json", _fast_tokenizer(vocabulary, merges, added))
    _write(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    _write(folder / "added_tokens.json", dict(special))
    _write(folder / "special_tokens_map.json", {"additional_special_tokens": names, **roles}, indent=1)
    _write(folder / "tokenizer_config.json", _tokenizer_config(added, names, roles), indent=1)
    shutil.copyfile(NORMALIZER, folder / "normalizer.json")


def find_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return the pair that each token is merged from, in the order of ranks.

    That is what is left when the token's bytes are merged by all lower ranks.
    """
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) < 2:  # bytes, and an empty token that the ranks end with
            continue
        left, right = _merge_below(token, rank, ranks)
        merges.append((left, right))
    return merges


def _merge_below(token: bytes, limit: int, ranks: dict[bytes, int]) -> list[bytes]:
    parts = [bytes([byte]) for byte in token]
    while True:
        pairs = [(ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1)]
        rank, place = min(pairs, default=(limit, 0))
        if rank >= limit:
            return parts
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def _read_ranks() -> dict[bytes, int]:
    lines = (ASSETS / "multilingual.tiktoken").read_text().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


def _byte_characters() -> dict[int, str]:
    """Return a printable character for each byte, as GPT-2's tokenizer files have it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_CHARACTERS = _byte_characters()


def _printable(token: bytes) -> str:
    return "".join(_CHARACTERS[byte] for byte in token)


def _added_token(text: str, token: int) -> dict[str, object]:
    return {
        "id": token,
        "content": text,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": token < TIMESTAMP_BEGIN,
    }


def _fast_tokenizer(vocabulary: dict[str, int], merges: list[str], added: list[dict[str, object]]) -> dict[str, object]:
    begin = [_special_piece("<|startoftranscript|>"), _special_piece("<|notimestamps|>")]
    end = [_special_piece(END_OF_TEXT)]
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    special_ids = {
        "<|startoftranscript|>": TOKENIZER.sot,
        "<|notimestamps|>": TOKENIZER.no_timestamps,
        END_OF_TEXT: TOKENIZER.eot,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": _byte_level(add_prefix_space=False),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [*begin, first, *end],
            "pair": [*begin, first, second, *end],
            "special_tokens": {
                text: {"id": text, "ids": [token], "tokens": [text]} for text, token in special_ids.items()
            },
        },
        "decoder": _byte_level(add_prefix_space=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }


def _byte_level(*, add_prefix_space: bool) -> dict[str, object]:
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": True}


def _special_piece(text: str) -> dict[str, object]:
    return {"SpecialToken": {"id": text, "type_id": 0}}


def _tokenizer_config(added: list[dict[str, object]], names: list[str], roles: dict[str, str]) -> dict[str, object]:
    kept = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in kept} for token in added},
        "additional_special_tokens": names,
        **roles,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 1024,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
    }


def _write(path: Path, content: object, indent: int | None = None) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=indent), encoding="utf-8")

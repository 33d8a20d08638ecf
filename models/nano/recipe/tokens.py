"""Whisper's tokenizer, and the compact vocabulary of the tokens that nano's texts can use.

Training with all 51,865 tokens would spend nearly all time in the output layer. The compact vocabulary holds the
tokens in use; all others share one extra id, `unused`.
"""

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import whisper.tokenizer
from grammar import ENGLISH_WORDS, LANGUAGES, PARALLEL_WORDS, capitalize, english_sentence, parallel_sentence

TOKENIZER = whisper.tokenizer.get_tokenizer(True, num_languages=99, language="en", task="transcribe")
N_TOKENS = 51865
END = TOKENIZER.eot
TIMESTAMP_BEGIN = TOKENIZER.timestamp_begin
N_TIMESTAMPS = 1501
LANGUAGE_TOKENS = {language: TOKENIZER.to_language_token(language) for language in LANGUAGES}
TASK_TOKENS = {"transcribe": TOKENIZER.transcribe, "translate": TOKENIZER.translate}
CONTROL_TOKENS = [
    TOKENIZER.sot,
    TOKENIZER.eot,
    TOKENIZER.sot_prev,
    TOKENIZER.no_speech,
    TOKENIZER.no_timestamps,
    *TASK_TOKENS.values(),
    *LANGUAGE_TOKENS.values(),
]
CHARACTERS = " abcdefghijklmnopqrstuvwxyzäöüßéèêàâçîïôûùœñáíóú'"
CHARACTER_IDS = {character: index + 1 for index, character in enumerate(CHARACTERS)}  # 0 is the blank of CTC
N_CHARACTERS = len(CHARACTERS) + 1
IGNORED = -100


@cache
def encode_text(text: str) -> list[int]:
    """Return the tokens of a text as Whisper writes it, with a space before."""
    return TOKENIZER.encode(" " + text.strip())


@cache
def token_bytes(token: int) -> int:
    """Return how many bytes of text a token stands for."""
    return len(TOKENIZER.encoding.decode_bytes([token]))


def timestamp_token(seconds: float) -> int:
    """Return the timestamp token nearest to a time in the window."""
    return TIMESTAMP_BEGIN + min(N_TIMESTAMPS - 1, round(seconds / 0.02))


@dataclass(frozen=True, slots=True)
class CompactVocabulary:
    """The tokens in use, in ascending order, and their places."""

    tokens: list[int]
    places: dict[int, int]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def unused(self) -> int:
        """The id that stands for every token not in use."""
        return len(self.tokens)

    @property
    def n_unused(self) -> int:
        """How many tokens are not in use."""
        return N_TOKENS - len(self.tokens)

    @property
    def timestamps(self) -> tuple[int, int]:
        """First and last + 1 compact id of the timestamps."""
        begin = self.places[TIMESTAMP_BEGIN]
        return begin, begin + N_TIMESTAMPS

    def compact(self, token: int) -> int:
        """Return the compact id of a token; an ignored label stays as it is."""
        return token if token == IGNORED else self.places.get(token, self.unused)

    def character_ids(self, labels: list[int]) -> list[int]:
        """Return the characters of the text among compact labels, for CTC."""
        tokens = [self.tokens[label] for label in labels if 0 <= label < self.unused]
        text = TOKENIZER.encoding.decode([token for token in tokens if token < END]).lower()
        return [CHARACTER_IDS[character] for character in text if character in CHARACTER_IDS]

    def expand(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the embedding of the full vocabulary; tokens not in use share the last row."""
        full = rows[self.unused].repeat(N_TOKENS, 1)
        full[torch.tensor(self.tokens)] = rows[: self.unused]
        return full


def load_vocabulary(path: Path) -> CompactVocabulary:
    """Read the vocabulary, or find it and write it to `path` (half a minute)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_tokens_in_use()))
    tokens = json.loads(path.read_text())
    return CompactVocabulary(tokens, {token: place for place, token in enumerate(tokens)})


def _tokens_in_use(n_sentences: int = 60000) -> list[int]:
    rng = random.Random(0)
    texts = {" . , ? ! . ... - "}
    for word in {*ENGLISH_WORDS, *(word for words in PARALLEL_WORDS.values() for word in words)}:
        for form in (word, capitalize(word)):
            texts.update((f" {form}", f" ¿{form}"))
    for _ in range(n_sentences):
        texts.add(f" {english_sentence(rng)}")
        texts.update(f" {sentence}" for sentence in parallel_sentence(rng))
    used = {token for text in texts for token in TOKENIZER.encode(text)}
    return sorted(used | set(CONTROL_TOKENS) | set(range(TIMESTAMP_BEGIN, TIMESTAMP_BEGIN + N_TIMESTAMPS)))

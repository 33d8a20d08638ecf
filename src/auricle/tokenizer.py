"""Whisper's vocabulary: text, languages, prompts, timestamp tokens.

Reads the ``tokenizer.json`` that lies beside the weights, or the older files that some models have in its place. The
layout of the special tokens and the split into words follow openai/whisper's ``tokenizer.py``.
"""

import json
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers

from auricle.errors import InvalidOption, ModelNotFound
from auricle.types import Task
from auricle.units import TIMESTAMP_S

_NAMES = (
    "en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese pt:portuguese "
    "tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian id:indonesian hi:hindi fi:finnish "
    "vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay cs:czech ro:romanian da:danish hu:hungarian ta:tamil "
    "no:norwegian th:thai ur:urdu hr:croatian bg:bulgarian lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh "
    "sk:slovak te:telugu fa:persian lv:latvian bn:bengali sr:serbian az:azerbaijani sl:slovenian kn:kannada "
    "et:estonian mk:macedonian br:breton eu:basque is:icelandic hy:armenian ne:nepali mn:mongolian bs:bosnian "
    "kk:kazakh sq:albanian sw:swahili gl:galician mr:marathi pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba "
    "so:somali af:afrikaans oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic "
    "yi:yiddish lo:lao uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese sa:sanskrit "
    "lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar haw:hawaiian ln:lingala "
    "ha:hausa ba:bashkir jw:javanese su:sundanese yue:cantonese"
)
LANGUAGES: dict[str, str] = {
    code: name.replace("_", " ") for code, _, name in (pair.partition(":") for pair in _NAMES.split())
}
"""ISO code -> English name, as the model names them."""

_ALIASES = {
    "burmese": "my",
    "castilian": "es",
    "flemish": "nl",
    "haitian": "ht",
    "jv": "jw",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}
_CODES = {name: code for code, name in LANGUAGES.items()} | _ALIASES

_NO_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}
"""Languages written without spaces, where a word is the shortest run of tokens that is whole characters."""


def parse_language(text: str) -> str:
    """ISO code of a language given as a code or as an English name, in any case; regions (``en-US``) are dropped.

    Raises InvalidOption for anything else.
    """
    wanted = text.strip().lower()
    for candidate in (wanted, wanted.replace("_", "-").split("-")[0]):
        if candidate in LANGUAGES:
            return candidate
        if candidate in _CODES:
            return _CODES[candidate]
    raise InvalidOption(
        f"{text[:40]!r} is not a language that Whisper knows; give an ISO-639-1 code such as 'en' or 'de', "
        "or an English name such as 'german'",
        param="language",
    )


def _byte_of_character() -> dict[str, int]:
    """GPT-2's reversible map between the 256 bytes and printable characters, read backwards."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    rest = [byte for byte in range(256) if byte not in set(printable)]
    return table | {chr(256 + index): byte for index, byte in enumerate(rest)}


def _read_vocabulary(folder: Path) -> tokenizers.Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    words, merges, added = (folder / name for name in ("vocab.json", "merges.txt", "added_tokens.json"))
    if not (words.is_file() and merges.is_file()):
        raise ModelNotFound(
            f"model folder {str(folder)!r} has no tokenizer.json; copy it from the model's Hugging Face repository"
        )
    made = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(words), str(merges)))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    special: dict[str, int] = json.loads(added.read_text("utf-8")) if added.is_file() else {}
    in_order = sorted(special, key=lambda text: special[text])
    added_tokens = [tokenizers.AddedToken(text, normalized=False, special=True) for text in in_order]
    made.add_special_tokens(added_tokens)  # pyright: ignore[reportUnknownMemberType]
    wrong = next((text for text in in_order if made.token_to_id(text) != special[text]), None)
    if wrong is not None:
        raise ModelNotFound(
            f"added_tokens.json of {str(folder)!r} leaves numbers out: {wrong} cannot be {special[wrong]}"
        )
    return made


class Tokenizer:
    """The vocabulary of one model. Immutable and safe to share between threads.

    Raises ModelNotFound where the folder has no vocabulary that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = _read_vocabulary(folder)
        self.eot = self._id("<|endoftext|>")
        self.sot = self._id("<|startoftranscript|>")
        self.sot_prev = self._id("<|startofprev|>")
        self.transcribe = self._id("<|transcribe|>")
        self.translate = self._id("<|translate|>")
        self.no_timestamps = self._id("<|notimestamps|>")
        self.timestamp_begin = self.no_timestamps + 1
        self.language_ids = {
            code: token
            for code in LANGUAGES
            if (token := self._tokenizer.token_to_id(f"<|{code}|>")) is not None
        }  # fmt: skip

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ModelNotFound(f"tokenizer.json lacks {token}: this is not a Whisper vocabulary")
        return found

    @cached_property
    def _token_bytes(self) -> list[bytes]:
        table = _byte_of_character()
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        size = max(vocabulary.values()) + 1
        pieces = [b""] * size
        for text, token in vocabulary.items():
            if all(character in table for character in text):
                pieces[token] = bytes(table[character] for character in text)
        return pieces

    def encode(self, text: str) -> list[int]:
        """Text tokens of ``text``; special tokens written out in it are taken as plain text."""
        # A blank between "<" and "|" keeps hostile prompts from smuggling in control tokens.
        return self._tokenizer.encode(text.replace("<|", "< |"), add_special_tokens=False).ids

    def token_bytes(self, token: int) -> bytes:
        """Raw bytes of a text token (may be part of a UTF-8 sequence); empty for special tokens."""
        return self._token_bytes[token] if token < self.eot else b""

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the text tokens among ``tokens``."""
        return b"".join(self.token_bytes(token) for token in tokens).decode("utf-8", errors="replace")

    def sequence(self, *, language: str | None, task: Task, timestamps: bool, multilingual: bool) -> tuple[int, ...]:
        """Start of transcript, language, task and, without timestamps, the token that says so.

        English-only models know neither language nor task tokens.
        """
        tokens = [self.sot]
        if multilingual:
            tokens.append(self.language_ids[language or "en"])
            tokens.append(self.translate if task == "translate" else self.transcribe)
        if not timestamps:
            tokens.append(self.no_timestamps)
        return tuple(tokens)

    def is_timestamp(self, token: int) -> bool:
        return token >= self.timestamp_begin

    def timestamp_seconds(self, token: int) -> float:
        """Seconds of the window that a timestamp token stands for."""
        return (token - self.timestamp_begin) * TIMESTAMP_S

    def split_words(self, tokens: Sequence[int], language: str | None) -> list[tuple[str, list[int]]]:
        """Words with their tokens; a word carries its leading space, punctuation stands alone.

        Languages without spaces are split as finely as the tokens allow. The words together are ``decode(tokens)``.
        """
        pieces = self._split_characters(tokens)
        if language in _NO_SPACES:
            return pieces
        words: list[tuple[str, list[int]]] = []
        for text, ids in pieces:
            starts_word = text.startswith(" ") or text.strip() in string.punctuation
            if starts_word or not words:
                words.append((text, list(ids)))
            else:
                word, word_ids = words[-1]
                words[-1] = (word + text, word_ids + ids)
        return words

    def _split_characters(self, tokens: Sequence[int]) -> list[tuple[str, list[int]]]:
        """The shortest runs of tokens that are whole UTF-8 text."""
        pieces: list[tuple[str, list[int]]] = []
        run: list[int] = []
        raw = b""
        for token in tokens:
            run.append(token)
            raw += self.token_bytes(token)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                if len(run) < 8:
                    continue
                text = raw.decode("utf-8", errors="replace")
            pieces.append((text, run))
            run, raw = [], b""
        if run:
            pieces.append((raw.decode("utf-8", errors="replace"), run))
        return pieces

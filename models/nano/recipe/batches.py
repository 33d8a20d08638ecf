"""Batches for training: crops of one or more utterances, and full windows of 30 s."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from augment import Dice, mask_features, nonspeech, vary_spectrum, vary_speech
from corpus import Corpus, Utterance
from features import N_POSITIONS, POSITION, SAMPLE_RATE, normalize, raw_log_mel
from tokens import END, IGNORED, CompactVocabulary, encode_text, timestamp_token
from windows import NO_SPAN, Example, Layout, Placed, Request, lay_out, make_example

LANGUAGE_SHARES = (("en", 0.55), ("de", 0.15), ("fr", 0.15), ("es", 0.15))
CROPS_AT_ONCE = 512
MAX_LONG_PROMPTS = 24  # rows of a batch with prompts of up to 223 tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of one step; b rows, n tokens.

    `mel` (b, 80, frames) bfloat16 · `tokens`, `labels` (b, n) compact ids · `spans` (b, n, 2) positions of each label,
    or -1 · `offsets` (b,) first position in the window · `characters` of all rows with speech, and how many of each
    row (-1: no transcript).
    """

    mel: torch.Tensor
    tokens: torch.Tensor
    labels: torch.Tensor
    spans: torch.Tensor
    offsets: torch.Tensor
    characters: torch.Tensor
    character_counts: torch.Tensor


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop that waits for its batch; without utterances it is one of non-speech."""

    n_positions: int
    placed: list[Placed]
    request: Request | None


class BatchMaker:
    """Draws batches from a corpus; the same seed gives the same batches."""

    def __init__(self, seed: int, corpus: Corpus, vocabulary: CompactVocabulary, *, augment: bool = True) -> None:
        self._corpus = corpus
        self._vocabulary = vocabulary
        self._augment = augment
        self._dice = Dice.seeded(seed)
        self._rng = self._dice.python
        self._waiting: list[list[Crop]] = []

    def crops(self, max_utterances: int, budget: int, max_positions: int = 500) -> Batch:
        """Return crops of like length: rows times positions stay within `budget`."""
        rng = self._rng
        if not self._waiting:
            self._waiting = self._sorted_into_batches(max_utterances, budget, max_positions)
        crops = self._waiting.pop()
        n_positions = min(N_POSITIONS, _round_up(max(crop.n_positions for crop in crops), 8))
        long_prompts = rng.random() < 0.05
        if long_prompts:
            crops = crops[:MAX_LONG_PROMPTS]
        examples, offsets = [], []
        for crop in crops:
            offset = 0 if rng.random() < 0.15 else rng.randint(0, N_POSITIONS - n_positions)
            timestamps = rng.random() < 0.5
            offsets.append(offset)
            if crop.request is None:
                examples.append(self._nonspeech(n_positions, offset, timestamps=timestamps))
                continue
            request = replace(crop.request, timestamps=timestamps)
            layout = lay_out(crop.placed, n_positions, offset, request, rng)
            examples.append(self._example(layout, request, 0.12, long_prompt=long_prompts))
        return self._collate(examples, offsets)

    def windows(self, count: int) -> Batch:
        """Return full windows: one utterance, a few, or as many as fit and the start of one more."""
        rng = self._rng
        examples = []
        long_prompts = rng.random() < 0.06
        for _ in range(count):
            timestamps = rng.random() < 0.6
            if rng.random() < 0.06:
                examples.append(self._nonspeech(N_POSITIONS, 0, timestamps=timestamps))
                continue
            language, task = self._draw_request(0.25)
            kind = rng.random()
            max_utterances = 1 if kind < 0.22 else (rng.randint(2, 4) if kind < 0.5 else 30)
            cut = timestamps and max_utterances == 30
            placed = self._fill_window(self._pool(language, task), max_utterances, cut=cut)
            if not placed:
                continue
            request = Request(language=language, task=task, timestamps=timestamps)
            layout = lay_out(placed, N_POSITIONS, 0, request, rng, cut=cut)
            examples.append(self._example(layout, request, 0.2, long_prompt=long_prompts))
        return self._collate(examples, [0] * len(examples))

    def _sorted_into_batches(self, max_utterances: int, budget: int, max_positions: int) -> list[list[Crop]]:
        crops = [self._draw_crop(max_utterances, max_positions) for _ in range(CROPS_AT_ONCE)]
        crops.sort(key=lambda crop: crop.n_positions)
        batches: list[list[Crop]] = [[]]
        for crop in crops:
            if batches[-1] and (len(batches[-1]) + 1) * crop.n_positions > budget:
                batches.append([])
            batches[-1].append(crop)
        self._rng.shuffle(batches)
        return batches

    def _draw_crop(self, max_utterances: int, max_positions: int) -> Crop:
        rng = self._rng
        if rng.random() < 0.04:
            return Crop(rng.randint(50, 250), [], None)
        language, task = self._draw_request(0.1 if max_utterances == 1 else 0.25)
        pool = self._pool(language, task)
        count = 1 if max_utterances == 1 else rng.randint(1, max_utterances)
        if max_utterances == 1 and rng.random() < 0.15:
            count = 2
        start = int(min(rng.expovariate(4), 1.2) * SAMPLE_RATE)
        placed: list[Placed] = []
        for _ in range(count):
            utterance = self._draw_short(pool, 9 if max_utterances > 1 else 6)
            samples = self._speech(utterance)
            if placed and start + len(samples) > max_positions * POSITION:
                break
            placed.append(Placed(utterance, samples, start))
            start += len(samples) + int((0.1 + min(rng.expovariate(2.0), 3)) * SAMPLE_RATE)
        end = placed[-1].start + len(placed[-1].samples)
        n_positions = min(N_POSITIONS, math.ceil(end / POSITION) + rng.randint(2, 20))
        return Crop(n_positions, placed, Request(language=language, task=task))

    def _fill_window(self, pool: list[Utterance], max_utterances: int, *, cut: bool) -> list[Placed]:
        rng = self._rng
        n = N_POSITIONS * POSITION
        kind = rng.random()
        start = 0 if kind < 0.2 else int(rng.uniform(0, 1 if kind < 0.8 else 4) * SAMPLE_RATE)
        mean_gap = rng.choice([0.15, 0.4, 0.4, 1.0])
        one_voice = rng.random() < 0.5
        placed: list[Placed] = []
        while len(placed) < max_utterances:
            utterance = rng.choice(pool)
            if one_voice and placed:
                utterance = self._same_voice(utterance, placed[-1].utterance.voice, pool)
            samples = self._speech(utterance)
            is_over = start + len(samples) > n - 1600
            if not is_over or (cut and start < n - 4000):
                placed.append(Placed(utterance, samples, start))
            if is_over:
                break
            start += len(samples) + int((0.08 + min(rng.expovariate(1 / mean_gap), 5)) * SAMPLE_RATE)
        return placed

    def _same_voice(self, utterance: Utterance, voice: str, pool: list[Utterance]) -> Utterance:
        for _ in range(25):
            if utterance.voice == voice:
                break
            utterance = self._rng.choice(pool)
        return utterance

    def _draw_short(self, pool: list[Utterance], seconds: int) -> Utterance:
        utterance = self._rng.choice(pool)
        for _ in range(3):
            if utterance.n_samples < seconds * SAMPLE_RATE:
                break
            utterance = self._rng.choice(pool)
        return utterance

    def _draw_request(self, translate_share: float) -> tuple[str, str]:
        language = self._draw_language()
        translates = language != "en" and self._rng.random() < translate_share
        return language, "translate" if translates else "transcribe"

    def _draw_language(self) -> str:
        rest = self._rng.random()
        for language, share in LANGUAGE_SHARES:
            if rest < share:
                return language
            rest -= share
        return "en"

    def _pool(self, language: str, task: str) -> list[Utterance]:
        source = self._corpus.translated if task == "translate" else self._corpus.by_language
        return source[language]

    def _speech(self, utterance: Utterance) -> np.ndarray:
        samples = self._corpus.samples(utterance)
        return vary_speech(samples, self._dice) if self._augment else samples

    def _nonspeech(self, n_positions: int, offset: int, *, timestamps: bool) -> Example:
        request = Request(language=self._draw_language(), timestamps=timestamps)
        n = n_positions * POSITION
        samples = nonspeech(n, self._dice)
        targets = [(timestamp_token(offset * 0.02), None)] if timestamps else []
        layout = Layout(samples=samples, targets=targets, end=n, is_speech=False)
        return make_example(layout, request, self._dice if self._augment else None)

    def _example(self, layout: Layout, request: Request, prompt_share: float, *, long_prompt: bool) -> Example:
        rng = self._rng
        if long_prompt:
            request = replace(request, prompt=self._draw_prompt(request, rng.randint(120, 223)))
        elif rng.random() < prompt_share:
            request = replace(request, prompt=self._draw_prompt(request, rng.randint(3, 60)))
        return make_example(layout, request, self._dice if self._augment else None)

    def _draw_prompt(self, request: Request, n_tokens: int) -> list[int]:
        """Return the last tokens of other texts, in half of the cases with timestamps."""
        rng = self._rng
        pool = self._pool(request.language, request.task)
        with_timestamps = rng.random() < 0.5
        tokens: list[int] = []
        time = 0.0
        while len(tokens) < n_tokens:
            utterance = rng.choice(pool)
            text = encode_text(utterance.text if request.task == "transcribe" else utterance.english or "")
            if not with_timestamps:
                tokens += text
                continue
            end = time + utterance.n_samples / SAMPLE_RATE
            tokens += [timestamp_token(time), *text, timestamp_token(end)]
            time = end + rng.choice([0, 0, 0.3, 1.2])
            if time > 28:
                time = rng.uniform(0, 2)
        return tokens[-n_tokens:]

    def _collate(self, examples: list[Example], offsets: list[int]) -> Batch:
        vocabulary = self._vocabulary
        labels = [[vocabulary.compact(label) for label in example.labels] for example in examples]
        tokens = [[vocabulary.compact(token) for token in example.tokens] for example in examples]
        characters: list[int] = []
        counts = []
        for example, row in zip(examples, labels, strict=True):
            if all(span == NO_SPAN for span in example.spans):
                counts.append(-1)
                continue
            ids = vocabulary.character_ids(row)
            characters += ids
            counts.append(len(ids))
        return Batch(
            mel=self._features(examples).to(torch.bfloat16),
            tokens=_pad([torch.tensor(row) for row in tokens], vocabulary.compact(END)),
            labels=_pad([torch.tensor(row) for row in labels], IGNORED),
            spans=_pad([torch.tensor(example.spans) for example in examples], -1.0),
            offsets=torch.tensor(offsets),
            characters=torch.tensor(characters),
            character_counts=torch.tensor(counts),
        )

    def _features(self, examples: list[Example]) -> torch.Tensor:
        mel = raw_log_mel(torch.stack([torch.from_numpy(example.samples) for example in examples]))
        if self._augment:
            for row in mel:
                vary_spectrum(row, self._rng)
        mel = normalize(mel)
        if self._augment:
            for row in mel:
                mask_features(row, self._rng)
        return mel


def _round_up(n: int, step: int) -> int:
    return (n + step - 1) // step * step


def _pad(rows: Iterable[torch.Tensor], value: float) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value)

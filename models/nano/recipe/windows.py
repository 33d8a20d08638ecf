"""One training window: utterances laid out in time, and the tokens Whisper should give for them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from augment import Dice, add_background
from corpus import Utterance
from features import POSITION, SAMPLE_RATE
from tokens import (
    IGNORED,
    LANGUAGE_TOKENS,
    TASK_TOKENS,
    TIMESTAMP_BEGIN,
    TOKENIZER,
    encode_text,
    timestamp_token,
    token_bytes,
)

EDGE_SECONDS = 0.015  # how much of the silence that trimming leaves belongs to no timestamp
LATEST_FIRST_TIMESTAMP = 50  # decoders hold the first timestamp to 1 s
NO_SPAN = (-1.0, -1.0)
Span = tuple[float, float]  # from, to, in encoder positions of 20 ms
Target = tuple[int, Span | None]  # a token, and where it is spoken


@dataclass(frozen=True, slots=True)
class Placed:
    """An utterance, its (changed) samples, and the sample of the crop at which it starts."""

    utterance: Utterance
    samples: np.ndarray
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the decoder is asked for."""

    language: str
    task: str = "transcribe"
    timestamps: bool = False
    prompt: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Samples, what is to be written for them, and the sample at which the last utterance ends."""

    samples: np.ndarray
    targets: list[Target]
    end: int
    is_speech: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A window for training: tokens, the label after each (or IGNORED), and where that label is spoken."""

    samples: np.ndarray
    tokens: list[int]
    labels: list[int]
    spans: list[Span]


def lay_out(
    placed: list[Placed], n_positions: int, offset: int, request: Request, rng: random.Random, *, cut: bool = False
) -> Layout:
    """Mix utterances into a crop that starts at position `offset` of its window.

    With `cut`, an utterance that goes over the end leaves only its first timestamp, as Whisper's targets have it.
    """
    n = n_positions * POSITION
    samples = np.zeros(n, np.float32)
    targets: list[Target] = []
    end = 0
    for index, item in enumerate(placed):
        item_end = min(n, item.start + len(item.samples))
        samples[item.start : item_end] += item.samples[: item_end - item.start]
        end = max(end, item_end)
        begin_time = offset * 0.02 + item.start / SAMPLE_RATE
        end_time = begin_time + len(item.samples) / SAMPLE_RATE
        if request.timestamps:
            first = timestamp_token(begin_time + EDGE_SECONDS)
            latest = TIMESTAMP_BEGIN + LATEST_FIRST_TIMESTAMP
            if index == 0 and offset == 0 and first > latest and rng.random() < 0.5:
                first = latest
            targets.append((first, None))
            if cut and item.start + len(item.samples) > n - 800:
                break
        targets += _text_targets(item, request.task)
        if request.timestamps:
            targets.append((timestamp_token(end_time - EDGE_SECONDS), None))
    return Layout(samples=samples, targets=targets, end=end)


def _text_targets(item: Placed, task: str) -> list[Target]:
    """Return the tokens of the text; a transcript's are taken to be spoken in proportion to their bytes."""
    if task == "translate":
        return [(token, None) for token in encode_text(item.utterance.english or "")]
    tokens = encode_text(item.utterance.text)
    lengths = [token_bytes(token) for token in tokens]
    total = sum(lengths)
    start, duration = item.start / POSITION, len(item.samples)
    targets: list[Target] = []
    done = 0
    for token, length in zip(tokens, lengths, strict=True):
        span = (start + done / total * duration / POSITION, start + (done + length) / total * duration / POSITION)
        targets.append((token, span))
        done += length
    return targets


def make_example(layout: Layout, request: Request, dice: Dice | None) -> Example:
    """Add background (with dice) and return the window with its labels.

    Labels are the language (or no speech) after the start token, then everything after the head; the task and the
    prompt are given, never learned.
    """
    if dice is not None:
        add_background(layout.samples, layout.end, dice, is_speech=layout.is_speech)
    before = [TOKENIZER.sot_prev, *request.prompt] if request.prompt else []
    head = [TOKENIZER.sot, LANGUAGE_TOKENS[request.language], TASK_TOKENS[request.task]]
    if not request.timestamps:
        head.append(TOKENIZER.no_timestamps)
    tokens = [*before, *head, *(token for token, _ in layout.targets), TOKENIZER.eot]
    labels = [IGNORED] * len(tokens)
    labels[len(before)] = LANGUAGE_TOKENS[request.language] if layout.is_speech else TOKENIZER.no_speech
    body = len(before) + len(head)
    labels[body - 1 : -1] = tokens[body:]
    spans = [NO_SPAN] * len(tokens)
    spans[body - 1 : -2] = [span or NO_SPAN for _, span in layout.targets]
    return Example(samples=layout.samples, tokens=tokens, labels=labels, spans=spans)

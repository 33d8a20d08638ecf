"""Engines that make the features themselves get the window's samples with its margins."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auricle.audio.mel import log_mel, with_margins
from auricle.engines.wire import decode_message, encode_message
from auricle.pipeline.clip import ClipDecoder
from auricle.pipeline.meter import Meter
from auricle.tokenizer import Tokenizer
from auricle.types import Answer, Decoding, RequestInfo, Row, Span, TranscribeOptions, Window

NOISE = (0.1 * np.random.default_rng(0).standard_normal(20_000)).astype(np.float32)
WINDOW = Window(
    clip_index=0,
    pieces=(Span(start=1000, end=17_001),),
    speech=(Span(start=1000, end=17_001),),
    samples=NOISE[1000:17_001],
    before=NOISE[800:1000],
    after=NOISE[17_001:17_201],
)


@dataclass
class Listener:
    """Answers every row with nothing, and keeps it."""

    wants_samples: bool
    rows: list[Row] = field(default_factory=list)

    @property
    def info(self) -> Any:
        return SimpleNamespace(n_mels=80, is_multilingual=True, wants_samples=self.wants_samples)

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        self.rows.append(row)
        return Answer(decoding=Decoding(language_probabilities=(("en", 1.0),)))


async def rows_of(listener: Listener, tokenizer: Tokenizer) -> list[Row]:
    clip: Any = ClipDecoder(
        recognizer=listener,  # pyright: ignore[reportArgumentType]
        tokenizer=tokenizer,
        options=TranscribeOptions(language_per_window=True, temperatures=(0.0,)),
        request=RequestInfo(request_id="r"),
        meter=Meter(),
        remaining_s=lambda: 1.0,
    )

    async def next_window(position: int) -> Window | None:
        return WINDOW if position == 0 else None

    assert [done.end async for done in clip.run(next_window, None)] == [17_001]
    return listener.rows


async def test_an_engine_that_wants_samples_gets_them_for_language_and_text(tokenizer: Tokenizer):
    detection, text = await rows_of(Listener(wants_samples=True), tokenizer)
    assert detection.options.task == "detect_language"
    assert text.options.task == "transcribe"
    for row in (detection, text):
        np.testing.assert_array_equal(
            row.samples, with_margins(WINDOW.samples, before=WINDOW.before, after=WINDOW.after)
        )
        # No values, but the number of frames.
        assert row.features.shape == (0, 101)


async def test_other_engines_get_features_and_no_samples(tokenizer: Tokenizer):
    rows = await rows_of(Listener(wants_samples=False), tokenizer)
    expected = log_mel(WINDOW.samples, 80, before=WINDOW.before, after=WINDOW.after)
    for row in rows:
        assert row.samples is None
        np.testing.assert_array_equal(row.features, expected)


async def test_a_row_of_samples_crosses_to_the_engines_process(tokenizer: Tokenizer):
    row = (await rows_of(Listener(wants_samples=True), tokenizer))[-1]
    frame = b"".join(encode_message(row))
    assert len(frame) < row.samples.nbytes + 2000  # pyright: ignore[reportOptionalMemberAccess]
    steps, at = decode_message(), 0
    size = next(steps)
    with pytest.raises(StopIteration) as end:
        while True:
            piece, at = frame[at : at + size], at + size
            size = steps.send(piece)
    arrived = end.value.value
    np.testing.assert_array_equal(arrived.samples, row.samples)
    assert arrived.features.shape == row.features.shape

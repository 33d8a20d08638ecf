"""SpeechDetector: the rules of Silero VAD, streamed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio.decode import decode_audio
from auricle.errors import InvalidOption
from auricle.types import Samples, Span, VadOptions
from auricle.windows.silero import Silero
from auricle.windows.vad import SpeechDetector, speech_probabilities
from media import AUDIO, SAMPLES
from speech import block_sizes, blocks, classify, patterns, synthesize

# By silero_vad_16k_sequence.onnx of silero-vad 6.2.3, frame after frame.
OFFICIAL = Path(__file__).parent / "data" / "silero_probabilities.npz"


def load(path: Path) -> Samples:
    return np.concatenate(list(decode_audio(path)))


def detect(detector: SpeechDetector, parts: list[Samples]) -> list[Span]:
    spans = [span for part in parts for span in detector.feed(part)]
    return spans + detector.finish()


def spans_by_definition(probabilities: list[float], options: VadOptions, length: int) -> list[Span]:
    """Silero's rules over all probabilities at once: runs above the threshold, joined over short dips, long enough."""
    low = options.threshold - 0.15 if options.neg_threshold is None else options.neg_threshold
    spans: list[Span] = []
    frame = 0
    while frame < len(probabilities):
        if probabilities[frame] < options.threshold:
            frame += 1
            continue
        start, end, dip = frame, None, None
        for frame in range(start + 1, len(probabilities)):
            if probabilities[frame] >= options.threshold:
                dip = None
            elif probabilities[frame] < low:
                dip = frame if dip is None else dip
                if (frame - dip) * 512 >= options.min_silence_duration_ms * 16:
                    end = dip
                    break
        span = Span(start=start * 512, end=length if end is None else end * 512)
        if span.length > options.min_speech_duration_ms * 16:
            spans.append(span)
        frame += 1
        if end is None:
            break
    return spans


@settings(max_examples=150, deadline=None)
@given(
    probabilities=st.lists(st.sampled_from([0.0, 0.1, 0.34, 0.4, 0.5, 0.9]), max_size=120),
    extra=st.integers(0, 511),
    min_speech=st.sampled_from([0, 100, 250]),
    min_silence=st.sampled_from([0, 100, 160, 500]),
    sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=4),
)
def test_the_spans_are_those_of_the_rules(
    probabilities: list[float], extra: int, min_speech: int, min_silence: int, sizes: list[int]
) -> None:
    options = VadOptions(min_speech_duration_ms=min_speech, min_silence_duration_ms=min_silence)
    length = max(0, len(probabilities) * 512 - extra)
    left = iter(probabilities)
    detector = SpeechDetector(options, lambda frames: np.array([next(left) for _ in frames], np.float32))
    assert detect(detector, blocks(np.zeros(length, np.float32), sizes)) == spans_by_definition(
        probabilities, options, length
    )


@settings(max_examples=60, deadline=None)
@given(pattern=patterns, tail=st.integers(0, 40_000), sizes=block_sizes)
def test_the_size_of_the_blocks_makes_no_difference(
    pattern: list[tuple[int, int]], tail: int, sizes: list[int]
) -> None:
    samples = synthesize(pattern, tail)
    options = VadOptions()
    whole = detect(SpeechDetector(options, classify), [samples])
    assert detect(SpeechDetector(options, classify), blocks(samples, sizes)) == whole


@settings(max_examples=60, deadline=None)
@given(pattern=patterns, sizes=block_sizes)
def test_what_is_pending_or_settled_never_proves_wrong(pattern: list[tuple[int, int]], sizes: list[int]) -> None:
    samples = synthesize(pattern)
    all_spans = detect(SpeechDetector(VadOptions(), classify), [samples])
    detector = SpeechDetector(VadOptions(), classify)
    done = 0
    for part in blocks(samples, sizes):
        done += len(detector.feed(part))
        assert all(span.start >= detector.settled for span in all_spans[done:])
        if (pending := detector.pending) is not None:
            assert all_spans[done].start == pending.start
            assert all_spans[done].end >= pending.end


@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.integers(1, 100_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 4_000))
def test_silero_gives_the_same_spans_in_blocks_of_any_size(sizes: list[int]) -> None:
    samples = load(SAMPLES / "09_en_20s_layout.wav")
    whole = detect(SpeechDetector(VadOptions()), [samples])
    assert detect(SpeechDetector(VadOptions()), blocks(samples, sizes)) == whole
    assert len(whole) >= 6


@pytest.mark.parametrize("name", ["jfk.flac", "samples/12_en_then_de.wav", "samples/11_noise.wav"])
def test_probabilities_equal_those_of_the_official_network(name: str) -> None:
    path = AUDIO / name
    with np.load(OFFICIAL) as data:
        expected = data[path.stem]
    probabilities = speech_probabilities(load(path))
    assert probabilities.shape == expected.shape
    assert np.abs(probabilities - expected).max() < 1e-3


def test_frames_one_by_one_have_the_probabilities_of_all_at_once() -> None:
    samples = load(AUDIO / "jfk.flac")
    together = speech_probabilities(samples)
    padded = np.concatenate([np.zeros(64, np.float32), samples])
    network = Silero()
    single = [network(padded[None, k * 512 : k * 512 + 576])[0] for k in range(samples.size // 512)]
    assert together.size == -(-samples.size // 512)
    assert np.abs(together[: len(single)] - np.array(single)).max() < 1e-3


@pytest.mark.parametrize("name", ["08_en_60s.flac", "09_en_20s_layout.wav", "12_en_then_de.wav"])
def test_every_utterance_of_the_samples_is_found(name: str) -> None:
    spans = detect(SpeechDetector(VadOptions()), [load(SAMPLES / name)])
    for segment in json.loads((SAMPLES / name).with_suffix(".json").read_text())["segments"]:
        start, end = segment["start"] * 16_000, segment["end"] * 16_000
        inside = [span for span in spans if span.start < end and span.end > start]
        assert inside, segment
        assert inside[0].start == pytest.approx(start, abs=0.3 * 16_000), segment
        assert inside[-1].end == pytest.approx(end, abs=0.3 * 16_000), segment


@pytest.mark.parametrize("name", ["10_silence.wav", "11_noise.wav"])
def test_silence_and_noise_are_no_speech(name: str) -> None:
    assert detect(SpeechDetector(VadOptions()), [load(SAMPLES / name)]) == []


@pytest.mark.parametrize("n", [0, 1, 511, 800])
def test_audio_shorter_than_a_frame_or_two_is_no_error(n: int) -> None:
    assert detect(SpeechDetector(VadOptions()), [np.zeros(n, np.float32)]) == []
    assert speech_probabilities(np.zeros(n, np.float32)).size == -(-n // 512)


def test_the_position_counts_samples_and_not_the_filling_of_the_last_frame() -> None:
    detector = SpeechDetector(VadOptions(), classify)
    detect(detector, [synthesize([(2, 20)], tail=100)])
    assert detector.position == 22 * 512 + 100


def test_the_quietest_point_is_the_middle_of_the_quietest_frames() -> None:
    samples = np.full(100 * 512, 0.5, np.float32)
    samples[40 * 512 : 43 * 512] = 0.1
    detector = SpeechDetector(VadOptions(), classify)
    detector.feed(samples)
    assert detector.quietest(Span(start=20 * 512 + 7, end=90 * 512)) == pytest.approx(41.5 * 512, abs=64)
    detector.forget(30 * 512)
    assert detector.quietest(Span(start=35 * 512 + 7, end=90 * 512)) == pytest.approx(41.5 * 512, abs=64)


def test_where_frames_are_alike_the_latest_is_the_quietest() -> None:
    detector = SpeechDetector(VadOptions(), lambda frames: np.ones(len(frames), np.float32))
    detector.feed(np.zeros(100 * 512, np.float32))
    assert detector.quietest(Span(start=0, end=100 * 512)) > 97 * 512


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0),
        ("threshold", float("nan")),
        ("threshold", 1.5),
        ("neg_threshold", 0.9),
        ("min_speech_duration_ms", -1),
        ("min_silence_duration_ms", 10**9),
        ("speech_pad_ms", -5),
        ("speech_pad_ms", 60_000),
        ("max_silence_s", -1.0),
        ("max_clip_s", 31.0),
        ("max_clip_s", 0.0),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidOption, match=name) as caught:
        SpeechDetector(replace(VadOptions(), **{name: value}))
    assert caught.value.param == name

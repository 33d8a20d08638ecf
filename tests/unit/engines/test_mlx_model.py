from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.tokenizer import Tokenizer
from auricle.types import Features
from auricle.units import N_FRAMES
from samples import NANO, NANO_HF, SAMPLES

mx = pytest.importorskip("mlx.core")

from auricle.engines.mlx_engine import MlxNetwork  # noqa: E402
from auricle.engines.mlx_layers import NumberFormat, Weights  # noqa: E402

CLIPS = ("01_en_slt", "02_en_rms", "03_en_heldout_voice_ked")
TOKENIZER = Tokenizer(NANO)
PROMPT = list(TOKENIZER.sequence(language="en", task="transcribe", timestamps=True, multilingual=True))
TEXT = TOKENIZER.encode(" one two three four five six seven eight nine ten" * 10)


@pytest.fixture(scope="module")
def exact() -> MlxNetwork:
    mx.set_default_device(mx.cpu)
    return MlxNetwork(read_checkpoint(NANO), NumberFormat(dtype=mx.float32))


def features_of(clip: str, frames: int = N_FRAMES) -> Features:
    samples = next(decode_audio(SAMPLES / f"{clip}.wav"))
    found = log_mel(samples, 80)[:, :frames]
    return np.pad(found, ((0, 0), (0, frames - found.shape[1])))


def window_of(network: Any, features: Features) -> Any:
    return network.project(network.encode(features))


def logits_of(network: MlxNetwork, clips: Sequence[str], tokens: Sequence[int]) -> np.ndarray:
    """(clips, tokens, vocabulary), all tokens in one step."""
    run = network.begin([window_of(network, features_of(clip, 400)) for clip in clips])
    return run.step([tokens] * len(clips), range(len(tokens))).logits


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("folder", [NANO, NANO_HF], ids=["ct2", "hf"])
def test_logits_queries_and_keys_are_those_of_openvino_in_float32(folder):
    pytest.importorskip("openvino")
    from auricle.engines.openvino_compile import compile_whisper
    from auricle.engines.openvino_engine import OpenVinoNetwork

    mx.set_default_device(mx.cpu)
    config = EngineConfig(engine="openvino", model_name="nano", model_path=folder, compute_type="float32", threads=1)
    theirs = OpenVinoNetwork(compile_whisper(config))
    ours = MlxNetwork(read_checkpoint(folder), NumberFormat(dtype=mx.float32))
    for frames in (N_FRAMES, 400):  # full windows once: they take seconds here
        features = features_of(CLIPS[0], frames)
        their_window, our_window = (window_of(network, features) for network in (theirs, ours))
        their_keys = theirs.alignment_keys(their_window, 100)
        np.testing.assert_allclose(ours.alignment_keys(our_window, 100), their_keys, atol=1e-3)
        runs = (theirs.begin([their_window]), ours.begin([our_window]))
        for tokens in (PROMPT, TEXT[:1], TEXT[1:2]):
            wanted = range(len(tokens))
            expected, found = (run.step([tokens], wanted) for run in runs)
            np.testing.assert_allclose(found.logits, expected.logits, atol=1e-3)
            np.testing.assert_allclose(found.queries, expected.queries, atol=1e-3)


def test_a_text_token_by_token_gives_the_logits_of_the_text_at_once(exact: MlxNetwork):
    # Longer than the blocks in which the cache grows.
    tokens = [*PROMPT, *TEXT][:150]
    at_once = logits_of(exact, CLIPS[:1], tokens)[0]
    run = exact.begin([window_of(exact, features_of(CLIPS[0], 400))])
    found = [run.step([tokens[:3]], range(3)).logits[0]]
    found += [run.step([[token]], [0], [0]).logits[0] for token in tokens[3:]]
    np.testing.assert_allclose(np.concatenate(found), at_once, atol=1e-3)


def test_windows_of_a_batch_answer_as_each_alone(exact: MlxNetwork):
    together = logits_of(exact, CLIPS, PROMPT)
    for number, clip in enumerate(CLIPS):
        np.testing.assert_allclose(together[number], logits_of(exact, [clip], PROMPT)[0], atol=1e-4)
    assert distance(together[0], together[1]) > 1e-3


def test_a_row_continues_the_one_that_it_came_from(exact: MlxNetwork):
    windows = [window_of(exact, features_of(clip, 400)) for clip in CLIPS[:2]]
    run = exact.begin(windows)
    run.step([PROMPT] * 2, [0])
    first, second, third, last = TEXT[:4]
    # Two hypotheses of each window, which then change places in the second one.
    run.step([[first], [second], [first], [second]], [0], [0, 0, 1, 1])
    found = run.step([[third], [last], [third], [last]], [0], [0, 0, 3, 2]).logits[:, 0]
    texts = ([first, third], [first, last], [second, third], [first, last])
    for row, text in enumerate(texts):
        alone = logits_of(exact, [CLIPS[row // 2]], [*PROMPT, *text])
        np.testing.assert_allclose(found[row], alone[0, -1], atol=1e-3)


def test_windows_that_are_kept_go_on_where_they_were(exact: MlxNetwork):
    run = exact.begin([window_of(exact, features_of(clip, 400)) for clip in CLIPS])
    run.step([PROMPT] * 3, [0])
    run.keep([2, 0])
    found = run.step([TEXT[:1]] * 2, [0], [2, 0]).logits[:, 0]
    for row, clip in enumerate((CLIPS[2], CLIPS[0])):
        np.testing.assert_allclose(found[row], logits_of(exact, [clip], [*PROMPT, TEXT[0]])[0, -1], atol=1e-3)


def test_what_a_window_holds_is_its_keys_and_values(exact: MlxNetwork):
    shape = exact.checkpoint.shape
    window = window_of(exact, features_of(CLIPS[0], 400))
    assert exact.size_of(window) == 2 * shape.decoder_layers * 200 * shape.d_model * 4


@pytest.mark.parametrize(
    ("number_format", "limit"),
    [
        (NumberFormat(dtype=mx.float16), 0.01),
        (NumberFormat(dtype=mx.bfloat16), 0.05),
        (NumberFormat(dtype=mx.float32, bits=8), 0.02),
        (NumberFormat(dtype=mx.float32, bits=4), 0.3),
    ],
    ids=["float16", "bfloat16", "int8", "int4"],
)
def test_other_number_formats_are_near_float32_but_not_the_same(
    exact: MlxNetwork, number_format: NumberFormat, limit: float
):
    wanted = logits_of(exact, CLIPS[:1], PROMPT)
    found = logits_of(MlxNetwork(exact.checkpoint, number_format), CLIPS[:1], PROMPT)
    assert 0 < distance(found, wanted) < limit


def test_quantized_rows_come_back_as_they_are_multiplied(exact: MlxNetwork):
    matrix = Weights(exact.checkpoint, NumberFormat(dtype=mx.float32, bits=8)).matrix("decoder.embedding")
    x = mx.random.normal((2, exact.checkpoint.shape.d_model), key=mx.random.key(0))
    ids = mx.array([3, 1, 50_000])
    by_rows = np.array(x @ matrix.rows(ids).T)
    np.testing.assert_allclose(by_rows, np.array(matrix.multiply(x)[:, ids]), atol=1e-4)

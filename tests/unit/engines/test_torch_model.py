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

torch = pytest.importorskip("torch")

from auricle.engines.torch_attention import View, split_rows  # noqa: E402
from auricle.engines.torch_model import SlotCache, Whisper  # noqa: E402
from auricle.engines.torch_weights import fill  # noqa: E402

torch.set_num_threads(1)

CPU = torch.device("cpu")
CLIPS = ("01_en_slt", "02_en_rms", "04_de")
TOKENIZER = Tokenizer(NANO)
PROMPT = list(TOKENIZER.sequence(language="en", task="transcribe", timestamps=True, multilingual=True))
TEXT = [*PROMPT, *TOKENIZER.encode(" one two three four five six seven eight nine ten" * 4)]
FRAMES, SHORT = 400, 200
CLOSE: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-4}


def make(folder: Any = NANO_HF, dtype: Any = torch.float32) -> Whisper:
    checkpoint = read_checkpoint(folder)
    model = Whisper(checkpoint.shape, checkpoint.alignment_heads)
    fill(model, checkpoint, CPU, dtype)
    return model


def features_of(clip: str, frames: int = FRAMES) -> Features:
    samples = next(decode_audio(SAMPLES / f"{clip}.wav"))
    found = log_mel(samples, 80)[:, :frames]
    return np.pad(found, ((0, 0), (0, frames - found.shape[1])))


class Run:
    """A model with slots, spoken to in lists."""

    def __init__(self, model: Whisper, slots: int = 4) -> None:
        self.model = model
        self.cache = SlotCache.allocate(model.shape, slots, model.dtype, CPU)

    @torch.inference_mode()
    def hear(self, slot: int, clip: str, frames: int = FRAMES) -> None:
        encoded = self.model.encode(torch.from_numpy(features_of(clip, frames))[None])
        self.cache.put_cross(torch.tensor([slot]), *self.model.cross(encoded))

    @torch.inference_mode()
    def step(
        self, tokens: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], slots: Any = None, **options: Any
    ) -> Any:
        """Logits (n, t, vocabulary); windows count as far as they reach."""
        if "context" not in options:
            options["short"] = True
        index = None if slots is None else torch.tensor(slots)
        hidden, self.queries = self.model.step(
            torch.tensor(tokens), torch.tensor(positions), self.cache, index, **options
        )
        return self.model.logits(hidden)


@pytest.fixture(scope="module")
def exact() -> Whisper:
    return make()


def alone(model: Whisper, clip: str, tokens: Sequence[int], frames: int = FRAMES) -> Any:
    """Logits (t, vocabulary) of one row in a cache of its own, all at once."""
    run = Run(model, slots=1)
    run.hear(0, clip, frames)
    return run.step([tokens], [range(len(tokens))], context=frames // 2)[0]


@pytest.mark.parametrize("folder", [NANO, NANO_HF], ids=["ct2", "hf"])
@pytest.mark.parametrize("frames", [N_FRAMES, FRAMES])
def test_keys_logits_and_queries_are_those_of_openvino_in_float32(folder: Any, frames: int):
    pytest.importorskip("openvino")
    from auricle.engines.openvino_compile import compile_whisper
    from auricle.engines.openvino_engine import OpenVinoNetwork

    config = EngineConfig(engine="openvino", model_name="nano", model_path=folder, compute_type="float32", threads=1)
    theirs = OpenVinoNetwork(compile_whisper(config))
    window = theirs.project(theirs.encode(features_of(CLIPS[0], frames)))
    ours = Run(make(folder), slots=1)
    ours.hear(0, CLIPS[0], frames)
    for layer in range(ours.model.shape.decoder_layers):
        for place, held in enumerate((ours.cache.cross_keys, ours.cache.cross_values)):
            np.testing.assert_allclose(held[layer, 0, :, : frames // 2], window[2 * layer + place].data[0], **CLOSE)
    run = theirs.begin([window])
    expected = run.step([TEXT], range(len(TEXT)))
    found = ours.step([TEXT], [range(len(TEXT))])
    np.testing.assert_allclose(found[0], expected.logits[0], **CLOSE)
    np.testing.assert_allclose(ours.queries, expected.queries, **CLOSE)


def test_a_text_token_by_token_gives_the_logits_of_the_text_at_once(exact: Whisper):
    run = Run(exact)
    run.hear(2, CLIPS[0])
    found = [run.step([PROMPT], [range(3)], [2], length=3)[0]]
    found += [run.step([[token]], [[place]], [2], length=64)[0] for place, token in enumerate(TEXT[3:], start=3)]
    np.testing.assert_allclose(torch.cat(found), alone(exact, CLIPS[0], TEXT), **CLOSE)


def test_rows_at_different_places_of_different_windows_answer_as_each_alone(exact: Whisper):
    run, lengths = Run(exact, slots=3), (30, 3, 17)
    for slot, (clip, length) in enumerate(zip(CLIPS, lengths, strict=True)):
        run.hear(slot, clip)
        run.step([TEXT[:length]], [range(length)], [slot])
    found = run.step([[TEXT[length]] for length in lengths], [[length] for length in lengths], length=64)
    for slot, (clip, length) in enumerate(zip(CLIPS, lengths, strict=True)):
        np.testing.assert_allclose(found[slot, 0], alone(exact, clip, TEXT[: length + 1])[-1], **CLOSE)


@pytest.mark.parametrize("is_marked", [True, False])
def test_prompts_of_different_lengths_are_taken_at_once(exact: Whisper, is_marked: bool):
    run, lengths = Run(exact, slots=3), (5, 12, 3)
    for slot, clip in enumerate(CLIPS):
        run.hear(slot, clip)
    tokens = [TEXT[:length] + [TOKENIZER.eot] * (12 - length) for length in lengths]
    places = [[place if place < length or not is_marked else -1 for place in range(12)] for length in lengths]
    prompts = run.step(tokens, places, [0, 1, 2], length=12)
    found = run.step([[TEXT[length]] for length in lengths], [[length] for length in lengths], length=64)
    for slot, (clip, length) in enumerate(zip(CLIPS, lengths, strict=True)):
        expected = alone(exact, clip, TEXT[: length + 1])
        np.testing.assert_allclose(prompts[slot, :length], expected[:-1], **CLOSE)
        np.testing.assert_allclose(found[slot, 0], expected[-1], **CLOSE)


def test_a_shorter_window_is_not_disturbed_by_what_its_slot_had_before(exact: Whisper):
    run = Run(exact, slots=2)
    run.hear(0, CLIPS[0])
    run.hear(1, CLIPS[0])
    run.hear(1, CLIPS[1], SHORT)
    assert run.cache.cross_lengths.tolist() == [FRAMES // 2, SHORT // 2]
    found = run.step([PROMPT, PROMPT], [range(3)] * 2)
    np.testing.assert_allclose(found[0], alone(exact, CLIPS[0], PROMPT), **CLOSE)
    np.testing.assert_allclose(found[1], alone(exact, CLIPS[1], PROMPT, SHORT), **CLOSE)


def test_no_more_of_the_windows_is_read_than_asked_for(exact: Whisper):
    run = Run(exact, slots=1)
    run.hear(0, CLIPS[1], SHORT)
    masked = run.step([PROMPT], [range(3)])
    run.cache.cross[:, :, :, :, SHORT // 2 :] = float("nan")
    np.testing.assert_allclose(run.step([PROMPT], [range(3)], context=SHORT // 2), masked, **CLOSE)


def test_branches_go_on_from_where_they_came(exact: Whisper):
    run = Run(exact, slots=3)
    for slot in range(3):
        run.hear(slot, CLIPS[0])
    # Three hypotheses with one prompt and a token of their own.
    ways = [[*PROMPT, token] for token in TEXT[3:6]]
    run.step(ways, [range(4)] * 3)
    came_from = [2, 0, 2]
    run.cache.copy_self(torch.tensor(came_from), torch.tensor([0, 1, 2]), 4)
    found = run.step([[token] for token in TEXT[6:9]], [[4]] * 3, length=64)
    for slot, source in enumerate(came_from):
        expected = alone(exact, CLIPS[0], [*ways[source], TEXT[6 + slot]])[-1]
        np.testing.assert_allclose(found[slot, 0], expected, **CLOSE)


def test_one_window_can_be_put_into_several_slots(exact: Whisper):
    run = Run(exact)
    with torch.inference_mode():
        keys, values = exact.cross(exact.encode(torch.from_numpy(features_of(CLIPS[2]))[None]))
        spread = [part.expand(-1, 2, -1, -1, -1) for part in (keys, values)]
        run.cache.put_cross(torch.tensor([3, 1]), *spread)
    for slot in (1, 3):
        np.testing.assert_array_equal(run.cache.cross_keys[:, slot, :, : FRAMES // 2], keys[:, 0])
        np.testing.assert_array_equal(run.cache.cross_values[:, slot, :, : FRAMES // 2], values[:, 0])


def test_empty_slots_and_padding_leave_no_trace(exact: Whisper):
    run = Run(exact, slots=3)
    run.hear(1, CLIPS[0])
    run.step([PROMPT], [range(3)], [1])
    # Slots 0 and 2 have never been used, slot 1 goes on.
    found = run.step([[0], [TEXT[3]], [0]], [[-1], [3], [-1]], length=64)
    assert found.isfinite().all()
    np.testing.assert_allclose(found[1, 0], alone(exact, CLIPS[0], TEXT[:4])[-1], **CLOSE)
    run.hear(0, CLIPS[1])
    np.testing.assert_allclose(run.step([PROMPT], [range(3)], [0])[0], alone(exact, CLIPS[1], PROMPT), **CLOSE)


def test_a_text_may_fill_all_places(exact: Whisper):
    places = exact.shape.text_positions
    tokens = (TEXT * 20)[:places]
    run = Run(exact, slots=2)
    run.hear(0, CLIPS[0])
    run.step([tokens[:-1]], [range(places - 1)], [0])
    run.step([[0], [0]], [[-1], [-1]])  # writes at the last place
    found = run.step([tokens[-1:]], [[places - 1]])
    np.testing.assert_allclose(found[0, 0], alone(exact, CLIPS[0], tokens)[-1], **CLOSE)


@pytest.mark.parametrize("slots", [[0, 1, 2], [2, 0, 1], [3, 1], [1, 2, 3], [2]])
def test_rows_find_their_slots_as_views_and_gathered(exact: Whisper, slots: list[int]):
    shape = exact.shape
    random = torch.Generator().manual_seed(0)
    held = torch.randn(2, 4, shape.decoder_heads, 50, shape.head_size, generator=random)
    queries = torch.randn(len(slots), 2, shape.decoder_heads, shape.head_size, generator=random)
    index = torch.tensor(slots)
    parts = split_rows(index, len(slots))
    assert isinstance(parts, list)
    seen, gathered = (View(parts=each, positions=40, bias=None).attend(queries, held) for each in (parts, index))
    scores = torch.einsum("nthd,nhsd->nhts", queries, held[0, index, :, :40]) * shape.head_size**-0.5
    expected = torch.einsum("nhts,nhsd->nthd", scores.softmax(-1), held[1, index, :, :40]).flatten(2)
    np.testing.assert_allclose(seen, expected, **CLOSE)
    np.testing.assert_allclose(gathered, expected, **CLOSE)


def flash_stand_in(q: Any, k_cache: Any, v_cache: Any, *, cache_seqlens: Any, cache_batch_idx: Any) -> Any:
    """What the documentation of ``flash_attn_with_kvcache`` says it computes."""
    assert cache_seqlens.dtype == torch.int32
    found = torch.empty_like(q)
    for row, length in enumerate(cache_seqlens.tolist()):
        slot = row if cache_batch_idx is None else int(cache_batch_idx[row])
        keys, values = (held[slot, :length].transpose(0, 1) for held in (k_cache, v_cache))
        scores = q[row].transpose(0, 1) @ keys.transpose(1, 2) * q.shape[-1] ** -0.5
        found[row] = (scores.softmax(-1) @ values).transpose(0, 1)
    assert cache_batch_idx is not None or len(k_cache) == len(q)
    return found


def test_flash_attention_is_told_what_each_row_sees(exact: Whisper):
    plain, flash = Run(exact), Run(make())
    flash.model.flash = flash_stand_in
    for run in (plain, flash):
        run.hear(0, CLIPS[0])
        run.hear(1, CLIPS[1], SHORT)
        run.step([TEXT[:9]] * 2, [range(9)] * 2, [0, 1])
    for places, slots in (([[9], [5]], None), ([[9], [5]], [1, 0]), ([[10]], [1])):
        tokens = [[TEXT[9]]] * len(places)
        expected = plain.step(tokens, places, slots, length=64)
        np.testing.assert_allclose(flash.step(tokens, places, slots, length=64), expected, **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_numbers_stay_near(exact: Whisper, dtype: Any):
    run = Run(make(dtype=dtype))
    run.hear(1, CLIPS[0])
    found = run.step([TEXT], [range(len(TEXT))], [1])
    assert found.dtype == run.cache.own.dtype == torch.float32  # on a processor the decoder is exact
    expected = alone(exact, CLIPS[0], TEXT)
    error = ((found[0] - expected).norm() / expected.norm()).item()
    assert error < (0.002 if dtype == torch.float16 else 0.02)

"""What every engine must do, each checked through its real process."""

import os
from pathlib import Path

import pytest
from engine_under_test import SAMPLES, EngineUnderTest, config_of

from auricle.batching.replica import BatchNotStarted, Replica
from auricle.errors import EngineError, InvalidOption
from auricle.types import Decoding

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIPS = ["01_en_slt.wav", "02_en_rms.wav", "03_en_heldout_voice_ked.wav", "07_en_human_digits.wav"]


def stamps(engine: EngineUnderTest, decoding: Decoding) -> list[int]:
    begin = engine.tokenizer.timestamp_begin
    return [token - begin for token in decoding.tokens if token >= begin]


def text_tokens(engine: EngineUnderTest, decoding: Decoding) -> list[int]:
    return [token for token in decoding.tokens if token < engine.tokenizer.eot]


async def test_it_says_what_it_is(engine: EngineUnderTest, engine_name: str):
    assert engine.info.engine == engine_name
    assert engine.info.name == "nano"
    assert engine.info.device == "cpu"
    assert engine.info.max_batch >= 1
    assert engine.info.n_mels == 80
    assert engine.info.is_multilingual


async def test_it_runs_in_a_process_of_its_own(engine: EngineUnderTest):
    assert engine.replica.pid not in (None, os.getpid())


async def test_a_batch_of_n_equals_n_batches_of_one_in_the_same_order(engine: EngineUnderTest):
    rows = [engine.row(sample, key=f"batch {sample}") for sample in CLIPS]
    together = await engine.decode(*rows)
    alone = [(await engine.decode(engine.row(sample, key=f"alone {sample}")))[0] for sample in CLIPS]
    assert [decoding.tokens for decoding in together] == [decoding.tokens for decoding in alone]
    assert [d.avg_logprob for d in together] == pytest.approx([d.avg_logprob for d in alone], abs=1e-2)
    assert len({decoding.tokens for decoding in together}) == len(CLIPS)


async def test_the_same_row_again_gives_the_same_answer(engine: EngineUnderTest):
    first, second = [(await engine.decode(engine.row(CLIPS[0])))[0] for _ in range(2)]
    assert first == second


async def test_a_batch_may_hold_the_same_audio_twice(engine: EngineUnderTest):
    one, two = await engine.decode(engine.row(CLIPS[1], key="same"), engine.row(CLIPS[1], key="same"))
    assert one.tokens == two.tokens


async def test_beam_search_answers_too(engine: EngineUnderTest):
    (decoding,) = await engine.decode(engine.row(CLIPS[0], beam_size=5))
    assert text_tokens(engine, decoding)


async def test_timestamps_are_ordered_and_inside_the_window(engine: EngineUnderTest):
    for decoding in await engine.decode(*(engine.row(sample) for sample in CLIPS)):
        found = stamps(engine, decoding)
        assert len(found) >= 2
        assert found == sorted(found)
        assert 0 <= found[0] <= found[-1] <= 1500


async def test_without_timestamps_there_are_none(engine: EngineUnderTest):
    (decoding,) = await engine.decode(engine.row(CLIPS[0], without_timestamps=True))
    assert text_tokens(engine, decoding) == list(decoding.tokens)
    assert decoding.tokens


async def test_language_probabilities_are_a_distribution_with_the_best_first(engine: EngineUnderTest):
    rows = [engine.row(sample, task="detect_language") for sample in CLIPS[:2]]
    for decoding in await engine.decode(*rows):
        probabilities = [probability for _, probability in decoding.language_probabilities]
        assert decoding.language_probabilities[0][0] == "en"
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1.0, abs=1e-3)
        assert all(code.isalpha() and code.islower() for code, _ in decoding.language_probabilities)


async def test_words_have_times_inside_the_window_and_a_probability_each(engine: EngineUnderTest):
    rows = [engine.row(sample, word_timestamps=True, logprobs=True) for sample in CLIPS]
    for row, decoding in zip(rows, await engine.decode(*rows), strict=True):
        count = len(text_tokens(engine, decoding))
        assert decoding.token_times is not None
        assert decoding.token_probabilities is not None
        assert decoding.token_logprobs is not None
        assert len(decoding.token_times) == len(decoding.token_probabilities) == len(decoding.token_logprobs) == count
        flat = [time_s for pair in decoding.token_times for time_s in pair]
        assert flat == sorted(flat)
        assert flat[0] >= 0
        assert flat[-1] <= row.features.shape[1] / 100 + 0.021
        assert all(0 <= probability <= 1 for probability in decoding.token_probabilities)
        assert all(logprob <= 0 for logprob in decoding.token_logprobs)


async def test_words_do_not_change_the_text(engine: EngineUnderTest):
    (plain,) = await engine.decode(engine.row(CLIPS[2]))
    (words,) = await engine.decode(engine.row(CLIPS[2], word_timestamps=True))
    assert plain.tokens == words.tokens


async def test_the_temperature_is_told_back(engine: EngineUnderTest):
    (decoding,) = await engine.decode(engine.row(CLIPS[0], temperature=0.4))
    assert decoding.temperature == 0.4


async def test_a_window_of_one_frame_is_answered(engine: EngineUnderTest):
    row = engine.row(CLIPS[0], key="short")
    short = type(row)(key="short", features=row.features[:, :1], prompt=row.prompt, options=row.options)
    assert len(await engine.decode(short)) == 1


async def test_the_largest_batch_that_it_names_is_answered(engine: EngineUnderTest):
    count = engine.info.max_batch
    rows = [engine.row(CLIPS[n % len(CLIPS)], key=f"{n}", without_timestamps=True) for n in range(count)]
    assert len(await engine.decode(*rows)) == count


async def test_real_speech_becomes_its_text(engine: EngineUnderTest, engine_name: str):
    if engine_name == "fake":
        pytest.skip("it has no network")
    for sample in ("01_en_slt", "02_en_rms"):
        (decoding,) = await engine.decode(engine.row(f"{sample}.wav", beam_size=5))
        # The model writes one of the capitals small, in every engine.
        assert engine.text(decoding).lower() == (SAMPLES / f"{sample}.txt").read_text().strip().lower()


async def test_closing_ends_the_process_and_leaves_no_zombie(engine_name: str):
    replica = Replica(config_of(engine_name))
    await replica.start()
    pid = replica.pid
    assert pid is not None
    assert replica.alive
    await replica.close()
    assert not replica.alive
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(BatchNotStarted):
        await replica.decode([], lambda *_: None)
    await replica.close()


async def test_a_wrong_setting_is_a_typed_error(engine_name: str):
    wrong = {"options": {"nonsense": "1"}} if engine_name == "fake" else {"compute_type": "int3"}
    with pytest.raises(InvalidOption):
        await Replica(config_of(engine_name, **wrong)).start()


async def test_a_folder_without_a_model_is_an_engine_error(engine_name: str, tmp_path: Path):
    if engine_name == "fake":
        pytest.skip("it reads no folder")
    with pytest.raises(EngineError, match="nano"):
        await Replica(config_of(engine_name, model_path=tmp_path)).start()

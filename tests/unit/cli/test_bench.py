"""The pure parts of ``auricle bench``, and what it says where no server answers."""

import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle.audio.decode import decode_audio
from auricle.cli.bench import describe, server_flags, to_json
from auricle.cli.bench_calls import ClipSpeed, FileSpeed, Speed, recording
from auricle.cli.main import app
from auricle.config import Settings

SPEED = Speed(
    file=FileSpeed(audio_s=60.0, elapsed_s=3.0),
    clips=(ClipSpeed(clients=4, clips=12, p50_s=0.5, slowest_s=0.75, rtfx=40.0),),
)


def test_recordings_have_the_length_asked_for_and_speech_in_them():
    for seconds in (5.0, 33.3):
        samples = np.concatenate(list(decode_audio(io.BytesIO(recording(seconds, seed=3)))))
        assert samples.size == round(seconds * 16_000)
        assert np.abs(samples).max() > 0.1


def test_a_seed_gives_the_same_recording_and_others_other_ones():
    assert recording(5, seed=1) == recording(5, seed=1)
    assert len({recording(5, seed=seed) for seed in range(40)}) == 40


def test_what_was_set_goes_to_the_server_and_nothing_else():
    settings = Settings(model="small", threads=3, offline=True)
    assert server_flags(settings) == ["--model", "small", "--threads", "3", "--offline"]
    assert server_flags(Settings(offline=False)) == ["--no-offline"]


def test_the_table_says_how_fast_it_was():
    text = "\n".join(describe(SPEED))
    assert "one file of 60 s: 3.0 s, 20.0 times faster" in text
    assert "       4     12      0.50       0.75    40.0" in text


def test_the_json_has_all_figures():
    body = json.loads(json.dumps(to_json(SPEED, {"server": None, "model": "small"})))
    assert body["model"] == "small"
    assert body["file"] == {"audio_s": 60.0, "elapsed_s": 3.0, "rtfx": 20.0}
    assert body["clips"][0]["clients"] == 4


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "nonsense://here"])
def test_a_server_that_is_not_there_is_said_so(server: str):
    result = CliRunner().invoke(app, ["bench", "--server", server])
    assert result.exit_code != 0
    assert server in str(result.exception)

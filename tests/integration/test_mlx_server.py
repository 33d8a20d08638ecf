"""A server whose model runs on MLX."""

from pathlib import Path

import httpx
import pytest
from live_server import DIGITS, live_server

pytest.importorskip("mlx.core")


def test_it_answers_with_words_in_their_order(tmp_path: Path):
    with live_server(tmp_path, engine="mlx", compute_type="int8") as live:
        loaded = httpx.get(f"{live.url}/health").json()
        with DIGITS.open("rb") as file:
            answer = httpx.post(
                f"{live.url}/v1/audio/transcriptions",
                files={"file": file},
                data={
                    "model": "whisper-1",
                    "language": "en",
                    "response_format": "verbose_json",
                    "timestamp_granularities[]": "word",
                },
                timeout=120,
            )
    said = answer.raise_for_status().json()
    assert said["text"].strip().lower() == DIGITS.with_suffix(".txt").read_text().strip().lower()
    starts = [word["start"] for word in said["words"]]
    assert len(starts) == len(said["text"].split())
    assert starts == sorted(starts)
    (model,) = loaded["models"]
    assert (model["engine"], model["device"], model["compute_type"]) == ("mlx", "cpu", "int8_float32")

"""A server on a model in Hugging Face form, and on one that it compiled before."""

from pathlib import Path

import httpx
import pytest
from live_server import DIGITS, live_server, wait_until

from samples import NANO_HF

pytest.importorskip("openvino")


def transcribe(url: str) -> str:
    with DIGITS.open("rb") as file:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": file},
            data={"model": "whisper-1", "response_format": "text"},
            timeout=60,
        )
    return answer.raise_for_status().text.strip()


def test_openvino_serves_it_and_starts_again_from_what_it_compiled(tmp_path: Path):
    texts: list[str] = []
    for _ in range(2):
        with live_server(tmp_path, model=NANO_HF, engine="openvino", cache_max_mb=0) as live:
            texts.append(transcribe(live.url))
        (compiled,) = (tmp_path / "engines").iterdir()
        written = compiled.stat().st_ino
    assert texts[0].lower() == DIGITS.with_suffix(".txt").read_text().strip().lower()
    assert texts[1] == texts[0]
    assert compiled.stat().st_ino == written


def test_nothing_is_kept_where_the_setting_says_so(tmp_path: Path):
    with live_server(tmp_path, engine="openvino", engine_cache_max_mb=0) as live:
        assert transcribe(live.url)
    assert not (tmp_path / "engines").exists()


def test_ctranslate2_says_that_it_cannot_read_it(tmp_path: Path):
    with live_server(tmp_path, model=NANO_HF, engine="ct2", wait_for_ready=False) as live:
        wait_until(lambda: "--engine openvino" in httpx.get(f"{live.url}/health/ready").text)

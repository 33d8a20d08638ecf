"""A server whose model has an encoder that was quantized beforehand."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import DIGITS, live_server

from auricle.config import Settings
from auricle.engines.optimized import remove_optimized
from auricle.runtime import open_runtime
from optimized_encoders import COMPUTE_TYPE, keep_bytes, keep_deaf
from samples import NANO

pytest.importorskip("openvino")

TEXT = DIGITS.with_suffix(".txt").read_text().strip().lower()
OPENVINO: dict[str, Any] = {"engine": "openvino", "compute_type": COMPUTE_TYPE}


def ask(url: str) -> tuple[str, str]:
    """The text, and whether it was kept from before."""
    with DIGITS.open("rb") as file:
        answer = httpx.post(f"{url}/v1/audio/transcriptions", files={"file": file}, timeout=60).raise_for_status()
    return answer.json()["text"].strip().lower(), answer.headers["x-auricle-cache"]


def test_it_is_used_and_results_with_it_and_without_are_kept_apart(tmp_path: Path):
    with live_server(tmp_path, **OPENVINO) as live:
        assert ask(live.url) == (TEXT, "miss")
        # A server goes on as it began.
        keep_deaf(tmp_path)
        assert ask(live.url) == (TEXT, "hit")
    with live_server(tmp_path, **OPENVINO) as live:
        text, cache = ask(live.url)
        assert cache == "miss"
        assert text != TEXT
    remove_optimized(NANO, tmp_path)
    with live_server(tmp_path, **OPENVINO) as live:
        assert ask(live.url) == (TEXT, "hit")


def test_it_needs_no_folder_of_compiled_models(tmp_path: Path):
    keep_deaf(tmp_path)
    with live_server(tmp_path, **OPENVINO, engine_cache_max_mb=0) as live:
        assert ask(live.url)[0] != TEXT
    assert not list((tmp_path / "engines").glob("*.compiled"))


def test_one_that_is_out_of_date_is_told_in_the_log_and_the_server_works(tmp_path: Path):
    keep_bytes(tmp_path, openvino="2020.1")
    with live_server(tmp_path, **OPENVINO) as live:
        assert ask(live.url)[0] == TEXT
    assert "the optimized encoder of nano is not used: it was made for" in (tmp_path / "server.log").read_text()


def test_a_server_works_with_one_that_is_damaged(tmp_path: Path):
    keep_bytes(tmp_path)
    with live_server(tmp_path, **OPENVINO) as live:
        assert ask(live.url)[0] == TEXT


async def test_another_engine_has_nothing_to_do_with_it(tmp_path: Path):
    keep_bytes(tmp_path)
    runtime = open_runtime(Settings(model="nano", engine="ct2", device="cpu", data_dir=tmp_path))
    try:
        info = (await runtime.models.load("nano")).info
    finally:
        await runtime.close()
    assert info.engine == "ct2"

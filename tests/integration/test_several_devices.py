"""A server with two devices: an engine process for each, behind one API. The fake engine stands for a GPU's."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from live_server import MINUTE, LiveServer, live_server, wait_until


def engines(live: LiveServer) -> list[psutil.Process]:
    children = psutil.Process(live.process.pid).children(recursive=True)
    return [child for child in children if "auricle.engines.worker" in child.cmdline()]


def transcribe(url: str, number: int) -> httpx.Response:
    with MINUTE.open("rb") as file:
        return httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": file},
            data={"model": "nano", "response_format": "text", "prompt": str(number)},
            timeout=60,
        )


def test_all_devices_serve_one_model_and_the_kill_of_an_engine_fails_no_request(tmp_path: Path):
    with live_server(tmp_path, engine="fake", devices="cuda:0,cuda:1", cache_max_mb=0) as live:
        first, second = engines(live)
        used = [sum(process.cpu_times()[:2]) for process in (first, second)]
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(transcribe, live.url, number) for number in range(24)]
            wait_until(lambda: live.metric("auricle_windows_total") > 4)
            os.kill(first.pid, signal.SIGKILL)
            texts = {answer.result().raise_for_status().text for answer in answers}
        assert len(texts) == 1
        assert texts.pop().strip()
        assert sum(second.cpu_times()[:2]) >= used[1]
        wait_until(lambda: len(engines(live)) == 2)
        assert first.pid not in {process.pid for process in engines(live)}
        (model,) = live.health()["models"]
        assert model["id"] == "nano"
        left = engines(live)
        live.process.send_signal(signal.SIGTERM)
        live.process.wait(30)
        wait_until(lambda: not any(process.is_running() for process in left))

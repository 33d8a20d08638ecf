"""What unloading gives back: a real server's process tree, as the system sees it."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from benchmarks.widen import NANO_HF, widen

from auricle.cli.child_server import ChildServer, child_server
from samples import NANO, load_sample

MB = 1 << 20
SMALL, LARGE = "org/small-one", "org/large-one"
SLACK = 25 * MB
"""What the server's own heap may keep, whose allocator gives back whole pages only: about 5 MB were measured."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two downloads: a copy of nano, and one of 150 MB."""
    root = tmp_path_factory.mktemp("memory")
    shutil.copytree(NANO, root / "models" / "org--small-one")
    widen(NANO_HF, "base", root / "models" / "org--large-one", "float16")
    return root


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[ChildServer]:
    flags = ["--model", "nano", "--preload-models", "", "--pinned-models", "", "--data-dir", str(folder)]
    with child_server([*flags, "--offline", "--threads", "1"], log=tmp_path / "log", start_timeout_s=60) as child:
        yield child


def engines(server: ChildServer) -> list[psutil.Process]:
    return psutil.Process(server.pid).children(recursive=True)


def tree_bytes(server: ChildServer) -> int:
    return sum(process.memory_info().rss for process in (psutil.Process(server.pid), *engines(server)))


def model(server: ChildServer, what: str) -> dict:
    answer = httpx.post(f"{server.url}/v1/models/{what}", timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def transcribe(server: ChildServer, name: str) -> str:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        data={"model": name},
        files={"file": load_sample("01").path.read_bytes()},
        headers={"cache-control": "no-cache"},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["text"]


def wait_until_below(server: ChildServer, limit: int) -> None:
    """The server's own share comes back a moment after the answer."""
    end = time.monotonic() + 20
    while (taken := tree_bytes(server)) >= limit:
        assert time.monotonic() < end, f"{taken / MB:.0f} MB are still taken, {limit / MB:.0f} are allowed"
        time.sleep(0.1)


def test_after_unloading_the_process_tree_is_as_small_as_before(server: ChildServer):
    assert engines(server) == []
    transcribe(server, SMALL)  # warms up what belongs to no model: decoder, voice detection, threads
    model(server, f"{SMALL}/unload")
    idle = tree_bytes(server)
    for _ in range(3):
        loaded = model(server, f"{LARGE}/load")
        assert loaded["memory_bytes"] > 100 * MB
        text = transcribe(server, LARGE)
        assert text == transcribe(server, SMALL)
        assert len(engines(server)) == 2
        assert tree_bytes(server) > idle + loaded["memory_bytes"]
        for name in (LARGE, SMALL):
            model(server, f"{name}/unload")
        assert engines(server) == []
        wait_until_below(server, idle + SLACK)


def test_loading_and_unloading_over_and_over_leaves_nothing_behind(server: ChildServer):
    transcribe(server, SMALL)
    model(server, f"{SMALL}/unload")
    process = psutil.Process(server.pid)
    files, memory = process.num_fds(), tree_bytes(server)
    for _ in range(8):
        model(server, f"{SMALL}/load")
        model(
            server,
            f"{SMALL}/unload",
        )
    assert engines(server) == []
    assert process.num_fds() <= files + 2
    wait_until_below(server, memory + SLACK)

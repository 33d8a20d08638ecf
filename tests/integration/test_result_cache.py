"""Equal requests to a real server: decoded once, whoever asks, in whatever format."""

import contextlib
import hashlib
import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import DIGITS, GERMAN, MINUTE, LiveServer, live_server, wait_until

PATH = "/v1/audio/transcriptions"
SLOW: dict[str, Any] = {"beam_size": "16", "vad": "false"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("cache")) as live:
        yield live


def ask(server: LiveServer, path: Path = DIGITS, *, cache_control: str = "", **fields: object) -> httpx.Response:
    headers = {"cache-control": cache_control} if cache_control else {}
    answer = httpx.post(server.url + PATH, files={"file": path.read_bytes()}, data=fields, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer


def outcome(answer: httpx.Response) -> str:
    return answer.headers["x-auricle-cache"]


def windows(server: LiveServer) -> float:
    return server.metric("auricle_windows_total")


def ask_at_once(server: LiveServer, count: int, **fields: Any) -> list[httpx.Response]:
    answers: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server, MINUTE, **fields))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def start_and_leave(server: LiveServer, timeout_s: float, **fields: object) -> None:
    """Ask for the slow transcription of a minute, and give up."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(server.url + PATH, files={"file": MINUTE.read_bytes()}, data=SLOW | fields, timeout=timeout_s)


def test_every_format_comes_from_one_decode(server: LiveServer) -> None:
    words: dict[str, Any] = {"timestamp_granularities[]": ["word", "segment"]}
    first = ask(server, MINUTE, response_format="verbose_json", **words)
    assert outcome(first) == "miss"
    before = windows(server)
    text = first.json()["text"]
    for form in ("json", "text", "srt", "vtt", "tsv", "verbose_json"):
        answer = ask(server, MINUTE, response_format=form)
        assert outcome(answer) == "hit"
        assert "Toronto" in answer.text
        if form in {"json", "verbose_json"}:
            assert answer.json()["text"] == text
    assert "words" not in answer.json()
    again = ask(server, MINUTE, response_format="verbose_json", **words)
    assert again.json()["words"] == first.json()["words"]
    assert again.json()["segments"] == first.json()["segments"]
    streamed = ask(server, MINUTE, stream="true")
    assert outcome(streamed) == "hit"
    assert streamed.text.count("transcript.text.delta") > 2
    assert text in streamed.text
    assert windows(server) == before


def test_what_the_stored_result_lacks_is_decoded(server: LiveServer) -> None:
    assert outcome(ask(server, GERMAN)) == "miss"
    assert outcome(ask(server, GERMAN, include="logprobs")) == "miss"
    answer = ask(server, GERMAN, include="logprobs")
    assert outcome(answer) == "hit"
    assert answer.json()["logprobs"]
    assert "logprobs" not in ask(server, GERMAN).json()


def test_other_options_are_other_results(server: LiveServer) -> None:
    fields: list[dict[str, Any]] = [
        {"beam_size": 2},
        {"prompt": "Seven"},
        {"language": "de"},
        {"temperature": 0.4},
        {"vad": "false"},
    ]
    assert [outcome(ask(server, **one)) for one in fields] == ["miss"] * len(fields)
    assert [outcome(ask(server, **one)) for one in fields] == ["hit"] * len(fields)
    translation = httpx.post(
        f"{server.url}/v1/audio/translations", files={"file": DIGITS.read_bytes()}, data={"beam_size": 2}, timeout=60
    )
    assert outcome(translation) == "miss"


def test_names_of_one_model_share_a_result(server: LiveServer) -> None:
    assert outcome(ask(server, beam_size=3, model="whisper-1")) == "miss"
    assert outcome(ask(server, beam_size=3, model="nano")) == "hit"


def test_the_client_can_ask_for_a_fresh_answer_or_for_none_to_be_kept(server: LiveServer) -> None:
    mark: dict[str, Any] = {"prompt": "fresh"}
    assert outcome(ask(server, cache_control="no-store", **mark)) == "miss"
    assert outcome(ask(server, **mark)) == "miss"
    before = windows(server)
    assert outcome(ask(server, cache_control="max-age=0, No-Cache", **mark)) == "miss"
    assert windows(server) > before
    before = windows(server)
    assert outcome(ask(server, cache_control="no-store", **mark)) == "miss"
    assert windows(server) > before
    assert outcome(ask(server, **mark)) == "hit"


def test_eight_at_once_are_decoded_once(server: LiveServer) -> None:
    before = windows(server)
    ask(server, MINUTE, prompt="alone", **SLOW)
    alone = windows(server) - before
    joined = server.metric("auricle_joined_total")
    answers = ask_at_once(server, 8, prompt="eight", **SLOW)
    assert windows(server) - before == 2 * alone
    outcomes = sorted(outcome(answer) for answer in answers)
    assert outcomes.count("miss") == 1
    assert outcomes.count("joined") + outcomes.count("hit") == 7
    assert server.metric("auricle_joined_total") - joined == outcomes.count("joined")
    assert len({answer.json()["text"] for answer in answers}) == 1
    wait_until(lambda: server.uploads() == [])


def test_those_who_ask_for_fresh_answers_at_once_get_one_each(server: LiveServer) -> None:
    before = windows(server)
    ask(server, MINUTE, prompt="fresh")
    alone = windows(server) - before
    ask_at_once(server, 3, cache_control="no-cache", prompt="fresh")
    assert windows(server) - before == 4 * alone


def test_a_retry_joins_the_run_that_its_first_try_left(server: LiveServer) -> None:
    before = windows(server)
    ask(server, MINUTE, prompt="long", **SLOW)
    alone = windows(server) - before
    start_and_leave(server, 0.7, prompt="retry")
    answer = ask(server, MINUTE, prompt="retry", **SLOW)
    assert outcome(answer) == "joined"
    assert "Toronto" in answer.text
    assert windows(server) - before == 2 * alone
    wait_until(lambda: server.uploads() == [])


def test_the_first_of_a_shared_run_can_leave(server: LiveServer) -> None:
    answers: list[httpx.Response] = []
    leader = threading.Thread(target=start_and_leave, args=(server, 1.0), kwargs={"prompt": "leader"})
    leader.start()
    wait_until(lambda: server.health()["requests"] == 1)
    follower = threading.Thread(target=lambda: answers.append(ask(server, MINUTE, prompt="leader", **SLOW)))
    follower.start()
    leader.join()
    follower.join()
    assert outcome(answers[0]) == "joined"
    assert "Toronto" in answers[0].text
    wait_until(lambda: server.uploads() == [])


def test_the_log_tells_where_an_answer_came_from(server: LiveServer) -> None:
    ids = [ask(server, prompt="logged").headers["x-request-id"] for _ in range(2)]
    log = server.folder / "server.log"
    wait_until(lambda: all(request_id in log.read_text() for request_id in ids))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    first, second = (next(line for line in lines if line.get("request_id") == request_id) for request_id in ids)
    assert (first["cache"], second["cache"]) == ("miss", "hit")
    assert first["audio_hash"] == second["audio_hash"] == hashlib.sha256(DIGITS.read_bytes()).hexdigest()
    assert second["rtfx"] is None


def test_a_restart_keeps_results_and_zero_retention_erases_them(tmp_path: Path) -> None:
    with live_server(tmp_path) as server:
        text = ask(server).json()["text"]
        wait_until(lambda: server.metric("auricle_cache_bytes") > 0)
        server.process.terminate()
        assert server.process.wait(30) == 0
    with live_server(tmp_path) as server:
        assert outcome(ask(server)) == "hit"
        assert windows(server) == 0
        assert server.metric("auricle_cache_hits_total") == 1
        server.process.terminate()
        server.process.wait(30)
    assert holds(tmp_path, text)
    with live_server(tmp_path, zero_retention=True) as server:
        assert outcome(ask(server)) == "miss"
        assert outcome(ask(server)) == "miss"
        assert not holds(tmp_path, text)


def test_with_zero_retention_nothing_of_a_result_is_on_disk(tmp_path: Path) -> None:
    with live_server(tmp_path, zero_retention=True) as server:
        text = ask(server).json()["text"]
        assert outcome(ask(server)) == "miss"
        assert not holds(tmp_path, text)
        answers = ask_at_once(server, 3, **SLOW)
        assert sorted(outcome(answer) for answer in answers) == ["joined", "joined", "miss"]
        wait_until(lambda: server.uploads() == [])
        assert not holds(tmp_path, text)


def test_a_damaged_database_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "auricle.db").write_bytes(b"this is no database " * 1000)
    with live_server(tmp_path) as server:
        for _ in range(3):
            answer = ask(server)
            assert outcome(answer) == "miss"
            assert "seven" in answer.text
        assert (tmp_path / "server.log").read_text().count("results are not kept") == 1
    assert (tmp_path / "auricle.db").read_bytes().startswith(b"this is no database")


def holds(folder: Path, text: str) -> bool:
    """Whether a file of the folder holds the text, plain or compressed."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if text.encode() in data or any(text.encode() in unpacked for unpacked in streams(data)):
                return True
    return False


def streams(data: bytes) -> Iterator[bytes]:
    """Whatever in ``data`` can be decompressed, its beginning at least."""
    for magic in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        position = data.find(magic)
        while position >= 0:
            unpacked = zlib.decompressobj()
            with contextlib.suppress(zlib.error):
                yield unpacked.decompress(data[position : position + 100_000])
            position = data.find(magic, position + 1)

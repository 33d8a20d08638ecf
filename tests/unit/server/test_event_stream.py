"""Server-sent events over a real socket, from scripted transcripts."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
from scripted_runtime import (
    AUDIO,
    HELLO,
    TRANSCRIPTIONS,
    WORLD,
    ScriptedTranscriber,
    calling,
    clip,
    left_over,
    scripted_app,
    serving,
    transcript,
)

from auricle.errors import CorruptAudio, ModelNotFound

STREAM = {"stream": "true"}


def events_of(body: str) -> list[dict]:
    frames = [frame for frame in body.split("\n\n") if frame.startswith("data: ") and "[DONE]" not in frame]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


async def stream(folder: Path, transcriber: ScriptedTranscriber, data: dict | None = None) -> httpx.Response:
    async with calling(scripted_app(folder, transcriber)) as client:
        return await client.post(TRANSCRIPTIONS, files=AUDIO, data=STREAM | (data or {}))


async def test_deltas_add_up_to_the_text_of_the_done_event(tmp_path: Path) -> None:
    clips = [clip(0, " One "), clip(1, "  "), clip(2, "two."), clip(3, " Three.  ")]
    response = await stream(tmp_path, ScriptedTranscriber([*clips, transcript(*clips)]))
    *deltas, done = events_of(response.text)
    assert [event["type"] for event in deltas] == ["transcript.text.delta"] * 3
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"] == "One   two. Three."
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


async def test_silence_gives_a_done_event_without_text(tmp_path: Path) -> None:
    response = await stream(tmp_path, ScriptedTranscriber([transcript()]))
    assert [event["text"] for event in events_of(response.text)] == [""]


async def test_the_done_event_counts_tokens(tmp_path: Path) -> None:
    spoken = replace(HELLO, segments=(replace(HELLO.segments[0], tokens=(50364, 2425, 50414)),))
    response = await stream(tmp_path, ScriptedTranscriber([spoken, transcript(spoken)]))
    usage = events_of(response.text)[-1]["usage"]
    # One second of audio is fifty positions of the encoder.
    assert (usage["type"], usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (
        "tokens",
        50,
        3,
        53,
    )


async def test_warnings_come_with_the_done_event(tmp_path: Path) -> None:
    response = await stream(tmp_path, ScriptedTranscriber([HELLO, transcript(HELLO, warnings=("ignored",))]))
    assert events_of(response.text)[-1]["x_auricle"] == {"warnings": ["ignored"]}


async def test_logprobs_come_only_where_they_are_asked_for(tmp_path: Path) -> None:
    plain = events_of((await stream(tmp_path, ScriptedTranscriber())).text)
    asked = events_of((await stream(tmp_path, ScriptedTranscriber(), {"include[]": "logprobs"})).text)
    assert not any("logprobs" in event for event in plain)
    first, second, done = asked
    assert [entry["token"] for entry in first["logprobs"]] == [" Hello there."]
    assert first["logprobs"] + second["logprobs"] == done["logprobs"]


async def test_an_error_before_the_first_event_has_a_status_of_its_own(tmp_path: Path) -> None:
    response = await stream(tmp_path, ScriptedTranscriber([ModelNotFound("no such model", param="model")]))
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert left_over(tmp_path) == []


async def test_an_error_after_the_first_event_becomes_an_event(tmp_path: Path) -> None:
    response = await stream(tmp_path, ScriptedTranscriber([HELLO, CorruptAudio("breaks off")]))
    assert response.status_code == 200
    delta, error = events_of(response.text)
    assert delta["delta"] == "Hello there."
    assert error["error"]["code"] == "corrupt_audio"
    assert "[DONE]" not in response.text


async def test_a_defect_after_the_first_event_tells_nothing_of_the_inside(tmp_path: Path) -> None:
    response = await stream(tmp_path, ScriptedTranscriber([HELLO, RuntimeError("secret")]))
    assert events_of(response.text)[-1]["error"]["code"] == "internal_error"
    assert "secret" not in response.text


async def test_a_silent_stream_is_kept_alive_and_a_late_error_is_an_event(tmp_path: Path) -> None:
    gate = asyncio.Event()
    app = scripted_app(tmp_path, ScriptedTranscriber([gate, CorruptAudio("late")]), sse_keepalive_s=0.02)
    async with (
        serving(app) as (client, _),
        client.stream("POST", TRANSCRIPTIONS, files=AUDIO, data=STREAM) as response,
    ):
        assert response.status_code == 200
        seen = ""
        async for text in response.aiter_text():
            seen += text
            if seen.count(": keep-alive\n\n") >= 2:
                gate.set()
    assert events_of(seen)[-1]["error"]["message"] == "late"


async def test_events_are_sent_as_soon_as_they_are_made(tmp_path: Path) -> None:
    gate = asyncio.Event()
    app = scripted_app(tmp_path, ScriptedTranscriber([HELLO, gate, WORLD, transcript(HELLO, WORLD)]))
    async with (
        serving(app) as (client, _),
        client.stream("POST", TRANSCRIPTIONS, files=AUDIO, data=STREAM) as response,
    ):
        chunks = response.aiter_text()
        assert "Hello there." in await anext(chunks)
        gate.set()
        assert "Good bye." in "".join([chunk async for chunk in chunks])


async def test_a_client_that_leaves_a_stream_ends_the_work(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([HELLO, asyncio.Event()])
    async with serving(scripted_app(tmp_path, transcriber)) as (client, _):
        async with client.stream("POST", TRANSCRIPTIONS, files=AUDIO, data=STREAM) as response:
            assert response.status_code == 200
            assert len(left_over(tmp_path)) == 1
        await asyncio.wait_for(transcriber.ended.wait(), 10)
        # Nothing of the request is left once the server has ended: `serving` waits for its tasks.
    assert left_over(tmp_path) == []


async def test_a_client_that_leaves_before_the_first_event_ends_the_work(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([asyncio.Event()])
    async with serving(scripted_app(tmp_path, transcriber)) as (client, _):
        asking = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO, data=STREAM))
        await transcriber.started.wait()
        asking.cancel()
        await asyncio.wait_for(transcriber.ended.wait(), 10)
    assert left_over(tmp_path) == []

"""A transcript in the making as the events of OpenAI's API."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from auricle.formats.openai_json import detected_languages, diarized_segment, token_logprobs
from auricle.types import ClipDone, Transcript
from auricle.units import TIMESTAMP_S


async def transcript_events(
    parts: AsyncGenerator[ClipDone | Transcript, None], *, logprobs: bool, speakers: bool = False
) -> AsyncGenerator[dict[str, Any], None]:
    """``transcript.text.delta`` as clips finish, ``transcript.text.done`` last; the deltas add up to its text.

    With ``speakers``, a ``transcript.text.segment`` for each segment before the last event, when all voices are known.

    Raises what ``parts`` raise.
    """
    sent = ""
    blank = ""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Transcript):
                for segment in part.segments if speakers else ():
                    yield diarized_segment(segment)
                yield _done(part, logprobs=logprobs)
                return
            # Blanks are held back until a word follows: the whole text has none at either end.
            text = blank + "".join(segment.text for segment in part.segments)
            text = text if sent else text.lstrip()
            delta = text.rstrip()
            blank = text[len(delta) :]
            if delta:
                sent += delta
                event: dict[str, Any] = {"type": "transcript.text.delta", "delta": delta}
                yield event | ({"logprobs": token_logprobs(part.segments)} if logprobs else {})


def _done(transcript: Transcript, *, logprobs: bool) -> dict[str, Any]:
    event: dict[str, Any] = {
        "type": "transcript.text.done",
        "text": transcript.text.strip(),
        "languages": detected_languages(transcript),
    }
    if logprobs:
        event["logprobs"] = token_logprobs(transcript.segments)
    # The official client types this event's usage as tokens, unlike that of the json body. Audio is counted in
    # positions of the encoder, 20 ms each.
    heard = math.ceil(transcript.duration / TIMESTAMP_S)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    event["usage"] = {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": written,
        "total_tokens": heard + written,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
    }
    if transcript.warnings:
        # The headers are long sent; verbose_json has the same place for them.
        event["x_auricle"] = {"warnings": list(transcript.warnings)}
    return event

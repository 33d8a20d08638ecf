"""``/v1/voices``: voices that requests can name without sending a sample again."""

import asyncio
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from auricle.errors import InvalidOption, UnsupportedOption
from auricle.pipeline.voices import check_name, know_speaker
from auricle.server.auth import Caller
from auricle.server.context import RequestContext
from auricle.server.receive import FileForm, audio_form

router = APIRouter(prefix="/v1/voices", tags=["voices"])

_FORM = audio_form("file", {"name": {"type": "string", "maxLength": 64, "description": "What the speaker is called."}})


class Voice(BaseModel):
    """A voice that has a name."""

    object: Literal["voice"] = "voice"
    name: str
    created_at: datetime


class VoiceList(BaseModel):
    """By name."""

    object: Literal["list"] = "list"
    data: list[Voice]


class VoiceDeleted(BaseModel):
    """The voice is forgotten."""

    object: Literal["voice"] = "voice"
    name: str
    deleted: Literal[True] = Field(default=True)


@router.post("", status_code=201, summary="Store a voice", openapi_extra=_FORM)
async def store_voice(context: RequestContext, caller: Caller, upload: FileForm) -> Voice:
    """The voice in 2 to 10 s of one speaker, under a name that `known_speaker_names[]` can then be without a sample. A
    voice that had the name is replaced. It is the key's own; the sample itself is not kept."""
    settings = context.settings
    if settings.diarization == "off" or settings.zero_retention:
        reason = "AURICLE_ZERO_RETENTION is set" if settings.zero_retention else "AURICLE_DIARIZATION is off"
        raise UnsupportedOption(f"Voices are not stored on this server: {reason}.", param="file")
    names = [value for field, value in upload.fields if field == "name"]
    if len(names) != 1:
        raise InvalidOption("The form needs one field 'name'.", param="name")
    try:
        name = check_name(names[0])
    except ValueError as exc:
        raise InvalidOption(f"name: {exc}.", param="name") from exc
    speaker = await asyncio.to_thread(know_speaker, name, upload.path, where="file", param="file")
    stored = await context.accounts.use_voices(lambda voices: voices.put(caller.owner, name, speaker.voice))
    return Voice(name=stored.name, created_at=stored.created_at)


@router.get("", summary="List voices")
async def list_voices(context: RequestContext, caller: Caller) -> VoiceList:
    """Those of the key that asks."""
    found = await context.accounts.use_voices(lambda voices: voices.listing(caller.owner))
    return VoiceList(data=[Voice(name=one.name, created_at=one.created_at) for one in found])


@router.delete("/{name}", summary="Forget a voice")
async def delete_voice(name: str, context: RequestContext, caller: Caller) -> VoiceDeleted:
    """Results that were made with it stay as they are."""
    await context.accounts.use_voices(lambda voices: voices.delete(caller.owner, name))
    return VoiceDeleted(name=name)

"""Settings: one declaration is the environment variable, the command-line flag and the row in the docs.

Read by the entry layer only (server, cli, runtime); everything below gets plain values.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _data_dir() -> Path:
    return Path.home() / ".cache" / "auricle"


class Settings(BaseSettings):
    """Every setting is ``AURICLE_`` + its name in capitals; a ``.env`` file is not read."""

    model_config = SettingsConfigDict(env_prefix="AURICLE_", extra="ignore", frozen=True)

    model: str = Field(
        default="auto",
        description="Default model: an alias, `org/repo`, a folder, or `auto` (turbo on CUDA with room, else base).",
    )
    model_aliases: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Other names for models, `name=model,…`. `whisper-1` and the `gpt-*` names mean the default model "
        "unless set here.",
    )
    data_dir: Path = Field(default_factory=_data_dir, description="Folder for downloaded models and other state.")
    offline: bool = Field(default=False, description="Never reach for the network; use models that are on disk.")

    engine: str = Field(default="auto", description="Engine that runs the network: `auto`, `ct2`, `fake`.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the engine runs.")
    device_index: int = Field(default=0, ge=0, description="Which CUDA device.")
    compute_type: str = Field(
        default="auto",
        description="Number format of the weights, as CTranslate2 names them; `auto` takes what the device does well.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of the engine; 0 takes all cores.")
    max_batch: int = Field(default=0, ge=0, description="Most rows of a batch; 0 takes what suits the device.")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_upload_mb: float = Field(default=1024.0, gt=0, description="Largest upload in MiB.")
    max_audio_s: float = Field(default=6 * 3600.0, gt=0, description="Longest audio in decoded seconds.")
    max_requests: int = Field(default=256, gt=0, description="Transcriptions in progress at once; more get 429.")
    max_windows_in_flight: int = Field(
        default=16, gt=0, description="Windows of one request that exist at once; bounds its memory."
    )
    request_timeout_s: float = Field(
        default=0.0, ge=0, description="Time after which a transcription is given up with 504; 0 for none."
    )
    shutdown_timeout_s: float = Field(
        default=30.0, ge=0, description="Time that running requests get to finish when the server stops."
    )
    sse_keepalive_s: float = Field(default=10.0, gt=0, description="Seconds between comments on a silent event stream.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines to write."
    )

    beam_size: int = Field(
        default=5,
        ge=1,
        le=16,
        description="Beam size where a request names none; 1 is greedy and about 1.8 times faster on CPU.",
    )
    vad: bool = Field(default=True, description="Find speech first, where a request does not say.")

    @field_validator("model_aliases", mode="before")
    @classmethod
    def _parse_aliases(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        bad = [name for name, equals, model in pairs if not (name.strip() and equals and model.strip())]
        if bad:
            raise ValueError(f"{bad[0]!r} is not of the form name=model")
        return {name.strip(): model.strip() for name, _, model in pairs}

"""Settings: one declaration is the environment variable, the command-line flag and the row in the docs.

Read by the entry layer only (server, cli, runtime); everything below gets plain values.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from auricle.config_aliases import AliasSource, CompatSystem
from auricle.net.addresses import Allowlist
from auricle.speakers.options import PYANNOTE_MODEL


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

    preload_models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("default",),
        description="Models to load when the server starts, with commas between; `default` is the default model. Empty "
        "loads each model when a request first needs it.",
    )
    pinned_models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("default",),
        description="Models that stay in memory once they are loaded, with commas between; `default` is the default "
        "model. Others are unloaded when idle, or when another model needs the room.",
    )
    model_ttl_s: float = Field(
        default=900.0, ge=0, description="Idle time after which a model that is not pinned is unloaded; 0 for never."
    )
    max_loaded_models: int = Field(default=0, ge=0, description="Most models in memory; 0 for no limit.")
    max_model_memory_mb: float = Field(
        default=0.0,
        ge=0,
        description="Main memory in MiB that all models may take; 0 for three quarters of what the machine or the "
        "container has.",
    )
    load_on_demand: bool = Field(
        default=True,
        description="Load models when requests name them. Without it, only those of `preload_models` and of "
        "`POST /v1/models/{id}/load` can be used, and none is unloaded by itself.",
    )
    allow_downloads: bool = Field(
        default=True, description="Download the models that have a short name when requests name them."
    )
    allow_any_repo: bool = Field(
        default=False,
        description="Download any Hugging Face repository of Whisper weights that a request names. Whoever can reach "
        "the server can then fill its disk.",
    )
    allow_model_admin: bool = Field(
        default=False,
        description="On a server without keys, let clients of other machines pull, load, unload and remove models; "
        "else only those of this machine may. With keys, admin keys may.",
    )

    engine: str = Field(
        default="auto",
        description="Engine that runs the network: `ct2`, `openvino`, `torch`, `mlx`, or `fake` for tests. `auto` is "
        "the fastest for the device, as it was measured (`calibrate`), else as expected: torch on CUDA, or ct2 without "
        "it; mlx on an Apple chip, or torch; on a CPU openvino where the processor has bfloat16, else ct2.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="Where the engine runs; `mps` is the GPU of an Apple chip. `auto` takes a GPU."
    )
    device_index: int = Field(default=0, ge=0, description="Which CUDA device, as CUDA counts them.")
    devices: Annotated[tuple[Annotated[int, Field(ge=0)], ...], NoDecode] = Field(
        default=(),
        description="CUDA devices that share the work, with commas between: `0,1` or `cuda:0,cuda:1`. Each gets an "
        "engine process with the model, and rows go to the one with the fewest in hand. In place of `device_index`.",
    )
    compute_type: str = Field(
        default="auto",
        description="Number format of the weights, as CTranslate2 names them; `auto` takes the fastest that was "
        "measured, else what the engine does well on the device.",
    )
    torch_compile: bool = Field(
        default=False,
        description="Have the torch engine compile the model (`torch.compile`), which takes minutes at the start.",
    )
    torch_quantize: Literal["off", "int8", "fp8"] = Field(
        default="off",
        description="8-bit weights of the torch engine, with torchao: less memory, and less exact.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of the engine; 0 takes all cores.")
    max_batch: int = Field(
        default=0,
        ge=0,
        description="Most rows of a batch; 0 takes what was measured, else what suits the device.",
    )
    engine_cache_max_mb: float = Field(
        default=4096.0,
        ge=0,
        description="Size in MiB of `engines/` in the data folder, where the OpenVINO engine keeps compiled models so "
        "that they start sooner; what was unused for longest goes first. 0 keeps none.",
    )
    calibrate: Literal["off", "auto"] = Field(
        default="off",
        description="`auto` measures engines, number formats and batch sizes before a model is first started on this "
        "machine, which takes minutes; `auricle doctor --calibrate` does it by hand.",
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="A key that every request must bring, for the simple case of one. More keys: `auricle keys`, or "
        "`keys_file`. Commands that talk to a server send it.",
    )
    admin_key: SecretStr = Field(
        default=SecretStr(""),
        description="A key whose requests may also manage models, and see what all keys have used.",
    )
    rapidapi_proxy_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Lets in what comes through RapidAPI with this secret in `X-RapidAPI-Proxy-Secret`; "
        "`X-RapidAPI-User` says for whom, `X-RapidAPI-Subscription` of which tier.",
    )
    keys_file: str = Field(
        default="", description="TOML or JSON file with any number of keys; it is read again when it changes."
    )
    tiers: str = Field(
        default="free=10/hour;premium=1000/hour",
        description="Limits that keys can have, `name=limit,…;name=…`. A limit is a number of requests, or of seconds "
        "of audio, per second, minute, hour or day: `10/hour`, `600s/hour`. A key without a tier has no limit.",
    )
    allow_no_keys: bool = Field(
        default=False,
        description="Listen on an address that other machines can reach even if there are no keys. Whoever can reach "
        "the server can then use it.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins of web pages that browsers let use the server, with commas between: "
        "`https://app.example.com`; `*` for all.",
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names that requests may give the server in their `Host` header, with commas between: "
        "`stt.example.com`, `*.example.com`; `*` for all. Where it is set, others are refused, except this machine's "
        "own. A server without keys on a loopback address takes no other names with a dot in them by itself.",
    )
    max_upload_mb: float = Field(default=1024.0, gt=0, description="Largest upload in MiB.")
    max_json_audio_mb: float = Field(
        default=25.0,
        gt=0,
        le=512,
        description="Largest audio in the body of a JSON request, in MiB. Unlike an upload it has to fit into memory.",
    )
    max_audio_s: float = Field(default=6 * 3600.0, gt=0, description="Longest audio in decoded seconds.")
    max_url_s: float = Field(
        default=1800.0,
        gt=0,
        description="Longest time to fetch the file behind a URL; its size has the limit of uploads.",
    )
    url_allowlist: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="What URLs of files and webhooks may lead to beyond the public internet, with commas between: "
        "hosts (`files.example.com`, `*.example.com`), networks (`10.0.0.0/8`), addresses, and buckets (`s3://name`, "
        "`gs://*`).",
    )
    webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Signs the webhooks of jobs that name no secret: `whsec_` and 24 to 64 bytes in base64. Empty "
        "signs none of them.",
    )
    max_requests: int = Field(default=256, gt=0, description="Transcriptions in progress at once; more get 429.")
    max_queued_audio_s: float = Field(
        default=86_400.0,
        ge=0,
        description="Seconds of audio that all requests in progress have still to do; a file that would go beyond gets "
        "429, unless it is the only one. 0 for no limit.",
    )
    max_memory_percent: float = Field(
        default=95.0,
        ge=0,
        le=100,
        description="Memory in use, of the machine or the container, above which new requests get 503; 0 for no limit.",
    )
    min_upload_kb_s: float = Field(
        default=1.0,
        ge=0,
        description="Slowest upload in KiB/s over 30 s; slower ones get 408, and slower files behind URLs are given "
        "up. 0 for no limit.",
    )
    max_windows_in_flight: int = Field(
        default=16, gt=0, description="Windows of one request that exist at once; bounds its memory."
    )
    request_timeout_s: float = Field(
        default=0.0,
        ge=0,
        description="Time after which a transcription is given up with 504. With `request_timeout_per_audio_s` also 0, "
        "there is no limit.",
    )
    request_timeout_per_audio_s: float = Field(
        default=0.0, ge=0, description="Time that each second of audio adds to `request_timeout_s`."
    )
    batch_timeout_s: float = Field(
        default=600.0,
        ge=0,
        description="Time of one batch after which the engine is taken to hang and is started anew; 0 for none.",
    )
    default_priority: Literal["realtime", "interactive", "batch"] = Field(
        default="interactive", description="Class of a request that names none; the first goes first."
    )
    allow_realtime: bool = Field(
        default=False,
        description="Let requests ask for the class `realtime`, which goes before all others; without it they get 400.",
    )
    model_priority: Annotated[dict[str, int], NoDecode] = Field(
        default_factory=dict,
        description="Order of models that share a device, `name=number,…`, the lower first. Models not named come "
        "after them, small before large.",
    )
    max_batch_s: float = Field(
        default=1.0,
        ge=0,
        description="On a CPU, longest batch of long requests while short ones come, as far as one row allows; 0 for "
        "no limit.",
    )
    cache_ttl_s: float = Field(
        default=86_400.0,
        ge=0,
        description="How long results are kept for requests with the same audio and options; 0 keeps none.",
    )
    cache_max_mb: float = Field(
        default=256.0,
        ge=0,
        description="Size of the kept results in MiB; the least recently used go first. 0 keeps none.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="Database for jobs, keys and kept results: `postgresql://user:password@host/name` (needs the extra "
        "`postgres`), which several servers may share. Empty for `auricle.db` in the data folder.",
    )
    max_running_jobs: int = Field(
        default=8, gt=0, description="Jobs that are worked on at once; more keep a GPU busy where files are short."
    )
    max_queued_jobs: int = Field(
        default=100_000, gt=0, description="Jobs that wait at once; more get 429. Their audio waits on the disk."
    )
    max_queued_jobs_per_key: int = Field(
        default=50_000, ge=0, description="Jobs of one key that wait at once; 0 for no limit of its own."
    )
    max_batch_jobs: int = Field(default=1000, gt=0, le=10_000, description="Jobs in one `POST /v1/jobs/batch`.")
    job_tries: int = Field(
        default=4,
        gt=0,
        description="Runs without progress after which a job fails whose error may pass, such as a lost engine.",
    )
    job_retention_s: float = Field(
        default=7 * 86_400.0, gt=0, description="How long a job and its result are kept after its end."
    )
    job_audio_retention_s: float = Field(
        default=0.0, ge=0, description="How long the audio of a job is kept after its end."
    )
    zero_retention: bool = Field(
        default=False,
        description="Keep no results on disk, and erase what earlier runs of the server kept. The result of a job is "
        "forgotten a minute after it was fetched, and after an hour in any case.",
    )
    join_grace_s: float = Field(
        default=5.0,
        ge=0,
        description="How long a transcription goes on whose clients have all left, for one that tries again; never for "
        "longer than a second or a tenth of what it has run already.",
    )
    shutdown_timeout_s: float = Field(
        default=30.0, ge=0, description="Time that running requests get to finish when the server stops."
    )
    sse_keepalive_s: float = Field(default=10.0, gt=0, description="Seconds between comments on a silent event stream.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe log lines to write."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="How the server's log is written: `console` for people, `json` for programs, one object a line; "
        "`auto` is `console` on a terminal, else `json`.",
    )
    tracing: bool = Field(
        default=False,
        description="Send OpenTelemetry traces, as the `OTEL_…` variables say; needs the extra `otel`.",
    )

    beam_size: int = Field(
        default=5,
        ge=1,
        le=16,
        description="Beam size where a request names none; 1 is greedy and about 1.8 times faster on CPU.",
    )
    vad: bool = Field(default=True, description="Find speech first, where a request does not say.")
    diarization: Literal["local", "pyannote", "sherpa", "off"] = Field(
        default="local",
        description="Who tells speakers apart where a request asks for it: `local` with what comes with the package, "
        "on the CPU; `pyannote` and `sherpa` with the extras of these names; `off` refuses such requests.",
    )
    pyannote_model: str = Field(
        default=PYANNOTE_MODEL, description="Pipeline of `pyannote`: a Hugging Face repository, or a folder."
    )
    sherpa_segmentation_model: str = Field(
        default="", description="ONNX file of `sherpa` that finds out when somebody speaks."
    )
    sherpa_embedding_model: str = Field(default="", description="ONNX file of `sherpa` that tells voices apart.")
    audio_context: Literal["full", "auto"] = Field(
        default="full",
        description="`auto` gives the encoder short windows at about their own length, not as 30 s: several times "
        "faster for short clips. Texts can differ slightly; windows that look wrong are done again in full.",
    )

    compat_env: Annotated[tuple[CompatSystem, ...], NoDecode] = Field(
        default=(),
        description="Other systems whose environment variables count here too, with commas between; their names are "
        "listed under `Move from another server`.",
    )
    health_status: Literal["ok", "healthy"] = Field(
        default="ok", description="What `status` of `GET /health` says; clients of Whisper API Server want `healthy`."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then our variables, then those of other systems."""
        return init_settings, env_settings, AliasSource(settings_cls)

    @field_validator(
        "preload_models",
        "pinned_models",
        "cors_origins",
        "trusted_hosts",
        "url_allowlist",
        "compat_env",
        mode="before",
    )
    @classmethod
    def _parse_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("devices", mode="before")
    @classmethod
    def _parse_devices(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip().removeprefix("cuda:") for part in value.split(",") if part.strip())

    @field_validator("devices")
    @classmethod
    def _check_devices(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a device is named twice")
        if value and info.data.get("device") in {"cpu", "mps"}:
            raise ValueError("they are CUDA devices, and `device` is another")
        return value

    @field_validator("url_allowlist")
    @classmethod
    def _check_allowlist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Allowlist.parse(value)
        return value

    @field_validator("model_aliases", "model_priority", mode="before")
    @classmethod
    def _parse_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        bad = [name for name, equals, given in pairs if not (name.strip() and equals and given.strip())]
        if bad:
            raise ValueError(f"{bad[0]!r} is not of the form name=value")
        return {name.strip(): given.strip() for name, _, given in pairs}

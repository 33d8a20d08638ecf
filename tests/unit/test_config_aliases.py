"""Environment variables of other systems."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr, ValidationError

from auricle.config import Settings
from auricle.config_aliases import ALIASES, CompatSystem

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-another-server.md"

# Variable, its value, the setting, and what it is then.
CASES = {
    "whisper-api-server": [
        ("WHISPER_SERVER_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("WHISPER_SERVER_PORT", "8084", "port", 8084),
        ("MAX_AUDIO_FILE_SIZE_MB", "50", "max_json_audio_mb", 50.0),
        (
            "ALLOWED_ORIGINS",
            "https://a.example, https://b.example",
            "cors_origins",
            ("https://a.example", "https://b.example"),
        ),
        ("ALLOWED_ORIGINS", '["*"]', "cors_origins", ("*",)),
        ("ALLOWED_HOSTS", "stt.example.com", "trusted_hosts", ("stt.example.com",)),
        ("LOG_LEVEL", "WARN", "log_level", "warning"),
    ],
    "whisper-server": [
        ("MODEL_PRIORITY", "tiny,base,small", "model_priority", {"tiny": 0, "base": 1, "small": 2}),
        ("MODEL_PRIORITY", '["tiny", "base"]', "model_priority", {"tiny": 0, "base": 1}),
        ("MODEL_PRIORITY", '{"large-v2": 9, "tiny": 1}', "model_priority", {"large-v2": 9, "tiny": 1}),
        ("MODEL_PRIORITY", "tiny:1,base:5", "model_priority", {"tiny": 1, "base": 5}),
        ("MODEL_PRIORITY", "tiny=3", "model_priority", {"tiny": 3}),
    ],
    "whisper-api-mvp": [
        ("MODEL_NAME", "small", "model", "small"),
        ("MODEL_NAME", "mlx-community/whisper-large-v3-turbo", "model", "large-v3-turbo"),
        ("MODEL_NAME", "mlx-community/whisper-tiny-mlx", "model", "tiny"),
        ("MAX_CONCURRENT_JOBS", "4", "max_requests", 4),
        ("MAX_FILE_SIZE_BYTES", "209715200", "max_upload_mb", 200.0),
        ("MAX_MEMORY_THRESHOLD", "85.0", "max_memory_percent", 85.0),
        ("MAX_CACHE_SIZE", "0", "cache_max_mb", 0.0),
        ("MAX_CACHE_SIZE", "100", "cache_max_mb", 256.0),
        ("MLX_NUM_THREADS", "6", "threads", 6),
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "8123", "port", 8123),
        ("LOG_LEVEL", "INFO", "log_level", "info"),
        ("DEFAULT_RATE_LIMIT", "20/h", "tiers", "free=20/h;premium=1000/h"),
        ("PREMIUM_RATE_LIMIT", "5000", "tiers", "free=10/h;premium=5000/hour"),
        ("RAPIDAPI_PROXY_SECRET", "s3cret", "rapidapi_proxy_secret", SecretStr("s3cret")),
    ],
    "insanely-fast-whisper-api": [("ADMIN_KEY", "k3y", "admin_key", SecretStr("k3y"))],
    "ultra-fast-whisper-server": [("MODEL_BATCH_SIZE", "128", "max_batch", 128)],
}
FLAT = [(system, *case) for system, cases in CASES.items() for case in cases]


def test_every_alias_has_a_case_and_a_row_in_the_docs() -> None:
    assert set(get_args(CompatSystem)) == set(ALIASES) == set(CASES)
    page = PAGE.read_text("utf-8")
    for system, aliases in ALIASES.items():
        assert {name for name, *_ in CASES[system]} == set(aliases)
        assert f"`{system}`" in page
        for name, (setting, _) in aliases.items():
            assert setting in Settings.model_fields
            assert f"`{name}`" in page, name
            assert f"`AURICLE_{setting.upper()}`" in page, setting


@pytest.mark.parametrize(("system", "variable", "text", "setting", "value"), FLAT)
def test_a_variable_stands_for_a_setting(
    monkeypatch: pytest.MonkeyPatch, *, system: str, variable: str, text: str, setting: str, value: object
) -> None:
    default = getattr(Settings(), setting)
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), setting) == default, "without the system's name it means nothing"
    monkeypatch.setenv("AURICLE_COMPAT_ENV", system)
    assert getattr(Settings(), setting) == value


def test_our_own_variables_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURICLE_COMPAT_ENV", "whisper-api-mvp, whisper-api-server")
    monkeypatch.setenv("PORT", "1111")
    monkeypatch.setenv("HOST", "192.0.2.1")
    monkeypatch.setenv("WHISPER_SERVER_PORT", "2222")
    assert Settings().port == 1111, "the first system that is named wins"
    monkeypatch.setenv("AURICLE_PORT", "3333")
    assert (Settings().port, Settings().host) == (3333, "192.0.2.1")
    assert Settings(port=4444).port == 4444


def test_a_flag_can_name_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "1111")
    assert Settings(compat_env=("whisper-api-mvp",)).port == 1111


def test_empty_variables_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURICLE_COMPAT_ENV", "whisper-api-mvp")
    monkeypatch.setenv("PORT", " ")
    assert Settings().port == 8000


@pytest.mark.parametrize(
    ("variable", "text"), [("AURICLE_COMPAT_ENV", "whisper"), ("PORT", "many"), ("MAX_FILE_SIZE_BYTES", "big")]
)
def test_values_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, variable: str, text: str) -> None:
    monkeypatch.setenv("AURICLE_COMPAT_ENV", "whisper-api-mvp")
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError):
        Settings()

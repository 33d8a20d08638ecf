import re
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from auricle.cli.main import app as auricle
from auricle.cli.settings_flags import flag_name, load_settings, takes_settings
from auricle.config import Settings
from auricle.errors import InvalidOption

WIDE = {"COLUMNS": "300", "TERMINAL_WIDTH": "300", "NO_COLOR": "1"}


def run(*arguments: str, env: dict[str, str] | None = None) -> Settings:
    """The settings that a command with all flags is called with."""
    got: list[Settings] = []
    app = typer.Typer()

    @app.command()
    @takes_settings(*Settings.model_fields)
    def command(settings: Settings, own: Annotated[str, typer.Option()] = "mine") -> None:
        got.append(settings)

    CliRunner().invoke(app, list(arguments), env=env, catch_exceptions=False)
    return got[0]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_a_flag_of_serve_with_its_description_and_variable(name: str):
    text = CliRunner().invoke(auricle, ["serve", "--help"], env=WIDE).output
    flat = re.sub(r"[\s│]+", " ", text)
    description = Settings.model_fields[name].description
    assert description
    assert re.search(rf"{flag_name(name)}\b", flat)
    assert f"{description} Env: AURICLE_{name.upper()}." in flat


def test_a_flag_wins_over_its_variable():
    settings = run("--port", "9001", env={"AURICLE_PORT": "9002", "AURICLE_HOST": "0.0.0.0"})
    assert (settings.port, settings.host) == (9001, "0.0.0.0")


def test_without_flags_and_variables_the_defaults_hold():
    assert run() == Settings()


def test_flags_take_the_types_of_their_settings():
    settings = run("--no-vad", "--offline", "--data-dir", "/x", "--model-aliases", "a=tiny,b=small", "--port", "9")
    assert settings.vad is False
    assert settings.offline is True
    assert settings.data_dir == Path("/x")
    assert settings.model_aliases == {"a": "tiny", "b": "small"}
    assert settings.port == 9


def test_only_flags_that_were_used_count_as_set():
    assert run("--model", "tiny").model_fields_set == {"model"}


def test_a_wrong_value_names_its_flag():
    with pytest.raises(InvalidOption, match="--beam-size=99"):
        load_settings({"beam_size": "99"})


def test_a_wrong_value_of_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AURICLE_PORT", "many")
    with pytest.raises(InvalidOption, match="AURICLE_PORT=many"):
        load_settings({"beam_size": "3"})


def test_a_command_cannot_declare_a_setting_twice():
    def command(settings: Settings, port: int = 1) -> None: ...

    with pytest.raises(TypeError, match="port"):
        takes_settings("port")(command)

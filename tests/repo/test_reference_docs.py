import inspect
import re

import pytest
import typer.main
from repo_files import REFERENCE, ROOT, load_generator

from auricle import errors
from auricle.cli.exit_codes import EXIT_CODES, MEANINGS, exit_code
from auricle.cli.main import app as command_line
from auricle.config import Settings
from auricle.engines.weights import model_names
from auricle.formats.registry import FORMATS
from auricle.server.errors import STATUS

GENERATE = load_generator()
PAGES: dict[str, str] = GENERATE.pages()
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AuricleError)]


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    assert page(name) == PAGES[name], "run: .venv/bin/python docs/generate.py"


def test_the_reference_has_no_page_that_nothing_generates() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_an_exit_code_and_a_row(kind: type[errors.AuricleError]) -> None:
    code = exit_code(kind("x"))
    assert code in MEANINGS
    assert code != EXIT_CODES[errors.AuricleError] or kind is errors.AuricleError
    row = f"| {kind.__name__} | `{kind.code}` | {STATUS[kind][0]} | `{STATUS[kind][1]}` | {code} |"
    assert row in page("errors.md")


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_in_the_tree_that_is_drawn(kind: type[errors.AuricleError]) -> None:
    assert re.search(rf"^[│├└─ ]*{kind.__name__}\b", errors.__doc__ or "", re.MULTILINE)


def test_no_two_errors_have_the_same_code() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_and_a_flag_of_serve(name: str) -> None:
    field = Settings.model_fields[name]
    flag = "--" + name.replace("_", "-")
    (row,) = [line for line in page("settings.md").splitlines() if line.startswith(f"| `AURICLE_{name.upper()}` |")]
    assert f"`{flag}`" in row
    assert field.description
    assert row.endswith(f"| {field.description} |")
    commands = typer.main.get_command(command_line).commands  # pyright: ignore[reportAttributeAccessIssue]
    assert flag in {option for parameter in commands["serve"].params for option in parameter.opts}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_an_example(name: str) -> None:
    assert re.search(rf"^## {name}\n\n```\w+\n", page("formats.md"), re.MULTILINE)


@pytest.mark.parametrize("name", model_names())
def test_every_model_name_is_in_the_readme(name: str) -> None:
    table = (ROOT / "README.md").read_text("utf-8").split("<!-- models -->")[1].split("<!-- /models -->")[0]
    assert f"`{name}`" in table

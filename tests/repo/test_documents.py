import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from repo_files import ROOT, code_blocks, pages, without_code
from typer.main import get_command

from auricle.cli.main import app as command_line
from auricle.config import Settings
from auricle.server.app import create_app
from auricle.server.schemas import parse_form

PAGES = pages()
GUIDES = [page for page in PAGES if page.parent != ROOT / "docs" / "reference" and "tests" not in page.parts]


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shell_lines(page: Path) -> list[list[str]]:
    """Commands of the shell blocks as words; pipes and redirections end a command."""
    text = "\n".join(code_blocks(page, "sh")).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if not line.startswith(" ")]
    return [list(takewhile(lambda word: word not in {"|", ">", ">>"}, words)) for words in lines if words]


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked), target


def test_every_page_of_the_docs_is_in_a_table_of_contents() -> None:
    docs = ROOT / "docs"
    listed = {docs / "index.md"}
    for page in docs.rglob("*.md"):
        for body in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            for entry in (line for line in body.split() if not line.startswith(":")):
                listed |= set(page.parent.glob(f"{entry}.md"))
    assert listed == {page for page in docs.rglob("*.md") if "_build" not in page.parts}


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_every_command_that_is_shown_exists_with_its_flags(page: Path) -> None:
    for words in shell_lines(page):
        if words[0] != "auricle":
            continue
        command: Any = get_command(command_line)
        rest = words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands"), f"{' '.join(words)}: no such command"
        flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"}
        assert used <= flags, " ".join(words)


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_every_target_of_make_that_is_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {words[1] for words in shell_lines(page) if words[0] == "make"} <= targets


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_every_request_that_is_shown_is_one_the_server_understands(page: Path, tmp_path: Path) -> None:
    curls = [words for words in shell_lines(page) if words[0] == "curl"]
    if not curls:
        return
    routes = create_app(Settings(engine="fake", model="nano", data_dir=tmp_path)).openapi()["paths"]
    for words in curls:
        (url,) = [word for word in words if word.startswith("http")]
        path = re.sub(r"^http://[^/]+", "", url).partition("?")[0]
        assert any(re.fullmatch(re.sub(r"\{\w+\}", ".+", route), path) for route in routes)
        if not path.startswith("/v1/audio/"):
            continue
        fields = [words[index + 1].partition("=") for index, word in enumerate(words) if word == "-F"]
        assert "file" in {name for name, _, _ in fields}
        _, unknown = parse_form([(name, value) for name, _, value in fields if name != "file"])
        assert not unknown


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_python_that_is_shown_can_be_compiled(page: Path) -> None:
    for body in code_blocks(page, "python"):
        compile(body, page.name, "exec")


@pytest.mark.parametrize("page", GUIDES, ids=identify)
def test_every_path_of_the_source_that_is_named_exists(page: Path) -> None:
    for name in re.findall(
        r"`((?:src/auricle|tests|docs|examples|benchmarks|models)/[\w./-]+)`", page.read_text("utf-8")
    ):
        if "NAME" not in name and "_build" not in name:
            assert (ROOT / name).exists(), name

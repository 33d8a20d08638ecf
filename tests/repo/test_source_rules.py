import ast
import re
from pathlib import Path

import pytest
from repo_files import ROOT, SOURCE, pages, python_files

MODULES = python_files("src")
MAX_LINES = 400
CATCH_ALL = {
    "batching/attempts.py": 1,  # a batch: those who wait must hear of it
    "jobs/runner.py": 1,  # a run: the job's owner must hear of it
    "engines/worker.py": 1,  # the engine's process: loading
    "engines/worker_batches.py": 1,  # a batch
    "engines/worker_slots.py": 1,  # the rows inside
    "server/access.py": 1,  # the server's last handler
    "server/sse.py": 1,  # the same, once the answer has begun
}
"""File -> how often it may catch whatever comes."""

# Parts of the patterns are in brackets, so that this file does not match itself.
FOREIGN = [
    r"/wor[k]/",
    r"/tm[p]/scratch",
    r"PREFACE[.]md",
    r"\bLL[M]\b",
    r"\b(claud[e]|anthropi[c]|chatgp[t])\b",
    r"\b(sub-?agen[t]|AI agen[t]|coding agen[t])",
    r"\bissue #?[1-9]\b",
    r"\bth[e] brief\b",
]
"""What is about the making of the product, or another one, and not about this one."""


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_no_file_is_longer_than_can_be_read_at_a_sitting(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    doc = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert doc or path.name == "__main__.py"


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_errors_are_caught_by_name_but_for_the_listed_places(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    found = [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and _catches_all(node)]
    assert len(found) == CATCH_ALL.get(path.relative_to(SOURCE).as_posix(), 0), f"lines {found}"


def test_the_listed_places_exist() -> None:
    assert all((SOURCE / name).is_file() for name in CATCH_ALL)


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_no_class_has_a_name_that_says_nothing(path: Path) -> None:
    names = [node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    assert not [name for name in names if re.search(r"(Manager|Helper|Utils|Handler|Base)$", name)]


@pytest.mark.parametrize(
    "path",
    [*pages(), *python_files("src", "tests", "docs", "examples", "benchmarks", "models", "deploy")],
    ids=identify,
)
def test_files_speak_of_the_product_only(path: Path) -> None:
    text = path.read_text("utf-8")
    for pattern in FOREIGN:
        found = re.search(pattern, text, re.IGNORECASE)
        assert found is None, f"{found.group()!r} in line {text[: found.start()].count(chr(10)) + 1}"


def _catches_all(node: ast.ExceptHandler) -> bool:
    """``except Exception``, ``except BaseException`` that does not raise again, or a bare ``except``."""
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    cleans_up = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
    return node.type is None or "Exception" in names or ("BaseException" in names and not cleans_up)

"""The files of the repository that are written by hand."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "auricle"
REFERENCE = ROOT / "docs" / "reference"
_FOLDERS = ("src", "tests", "docs", "examples", "benchmarks", "models")
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def python_files(*folders: str) -> list[Path]:
    """Python files below ``folders`` of the root."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "_build" not in path.parts)


def pages() -> list[Path]:
    """Markdown files that people read."""
    below = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.md") if "_build" not in path.parts]
    return sorted([*ROOT.glob("*.md"), *below])


def code_blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return [body for name, body in _FENCE.findall(page.read_text("utf-8")) if name == language]


def without_code(text: str) -> str:
    """Markdown without fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def load_generator() -> ModuleType:
    """The script that writes the reference."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

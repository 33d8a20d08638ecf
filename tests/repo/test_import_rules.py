import ast
import subprocess
import sys
from pathlib import Path

from repo_files import ROOT, SOURCE, python_files


def test_the_layers_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert ", 0 broken" in outcome.stdout


LIBRARIES = {
    "ctranslate2": ("ct2_",),
    "mlx": ("mlx_",),
    "openvino": ("openvino_",),
    "torch": ("torch_", "openai_format"),
}
"""Library of an engine -> what names of the files begin with that may import it."""

TENSORS = ("speakers/pyannote_diarizer.py", "torch")
"""Another package takes its audio as the library's tensors."""


def imported_libraries(path: Path) -> set[str]:
    """Also those of imports inside functions, and for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found & set(LIBRARIES)


def test_the_library_of_an_engine_is_imported_in_its_own_files_only() -> None:
    places = {path: imported_libraries(path) for path in python_files("src")}
    wrong = [
        f"{path.relative_to(SOURCE)} imports {library}"
        for path, libraries in places.items()
        for library in libraries
        if (path.parent != SOURCE / "engines" or not path.name.startswith(LIBRARIES[library]))
        and (path.relative_to(SOURCE).as_posix(), library) != TENSORS
    ]
    assert wrong == []
    assert set().union(*places.values()) >= {"ctranslate2", "openvino"}

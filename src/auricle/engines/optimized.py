"""Encoders that were quantized beforehand (``auricle models optimize``): where they lie, and what is known of them.

``DATA_DIR/engines/optimized/MODEL-CONTENT`` holds ``encoder.xml`` and ``encoder.bin`` in OpenVINO's form, and
``about.json``. MODEL stands for where the model lies, CONTENT for what was made, so that no two encoders share a
folder: its name says which one a result was made with. A folder is whole or absent, and a model has one at most.
Nothing here needs OpenVINO.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from auricle.engines.devices import cpu_features
from auricle.engines.openvino_cache import fingerprint

FORMAT = 2
"""Of these folders and of the network's inputs and outputs."""
_ABOUT, _NETWORK, _WEIGHTS = "about.json", "encoder.xml", "encoder.bin"
_STEP = 1 << 20
_INSTRUCTIONS = ("avx", "amx", "fma", "sse4", "asimd", "bf16", "i8mm", "sve")
"""What names of processor features begin with that products are made of."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an encoder is like, on windows that were not used to quantize it."""

    error: float
    """Distance of the decoder's keys and values from those of the same weights in float32, as a share of their norm."""
    encode_s: float
    """Processor time of a full window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a quantized encoder was made of and for, and what was measured."""

    model: str
    compute_type: str
    """As ``openvino_compile.COMPUTE_TYPES`` has it; of what is not quantized too."""
    made_at: str
    """UTC, ISO 8601."""
    calibration_windows: int
    held_out_windows: int
    plain: Figures
    """Of the encoder with 8-bit weights and activations rounded on the fly."""
    quantized: Figures
    fingerprint: str
    """Of the model's files."""
    openvino: str
    processor: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A folder with a quantized encoder."""

    folder: Path
    about: About
    files: Mapping[str, tuple[int, int]]
    """Size and checksum of each."""

    @property
    def network(self) -> Path:
        """The file for ``openvino.Core.read_model``."""
        return self.folder / _NETWORK

    def damage(self) -> str:
        """What is wrong with the files; empty where they are as they were written. Reads all of them."""
        try:
            changed = [name for name, (_, wanted) in self.files.items() if _checksum(self.folder / name) != wanted]
        except OSError as error:
            return str(error)
        return f"{' and '.join(changed)} does not match its checksum" if changed else ""

    def obstacle(self, model_path: Path) -> str:
        """Why it cannot be used for the model in ``model_path`` here and now; empty where it can."""
        if self.about.format != FORMAT:
            return "it was made by another version of Auricle"
        if self.about.fingerprint != fingerprint(model_path):
            return "the model's files have changed since"
        if self.about.openvino != openvino_version():
            return f"it was made for OpenVINO {self.about.openvino}, and {openvino_version()} is installed"
        if self.about.processor != processor_features():
            return "it was checked on another kind of processor"
        if any(not _has_size(self.folder / name, size) for name, (size, _) in self.files.items()):
            return "its files are not whole"
        return ""


def summarise(about: About) -> str:
    """The figures for people."""
    plain, quantized = about.plain, about.quantized
    return (
        f"{1e3 * quantized.encode_s:.0f} instead of {1e3 * plain.encode_s:.0f} ms of processor time a window, "
        f"error {quantized.error:.2%} instead of {plain.error:.2%}, {about.compute_type}"
    )


def find_optimized(model_path: Path, data_dir: Path) -> Optimized | None:
    """What was made for the model in ``model_path``; a folder that cannot be read is passed over with a warning."""
    for folder in _folders(model_path, data_dir):
        try:
            return read_optimized(folder)
        except (OSError, ValueError) as error:
            _log.warning("%s is damaged and not used: %s", folder, error)
    return None


def read_optimized(folder: Path) -> Optimized:
    """What lies in ``folder``. Raises OSError, and ValueError for what cannot be read."""
    text = (folder / _ABOUT).read_bytes()
    if not folder.name.endswith(_digest(text)):
        raise ValueError(f"{_ABOUT} is not as it was written")
    try:
        body: dict[str, Any] = json.loads(text)
        known = dict(body["about"])
        plain, quantized = (Figures(**known.pop(name)) for name in ("plain", "quantized"))
        files = {name: (int(size), int(checksum)) for name, (size, checksum) in body["files"].items()}
        return Optimized(folder=folder, about=About(plain=plain, quantized=quantized, **known), files=files)
    except (TypeError, KeyError) as error:
        raise ValueError(f"{_ABOUT} lacks or has what it should not: {error}") from error


def keep_optimized(about: About, write: Callable[[Path], None], *, model_path: Path, data_dir: Path) -> Optimized:
    """Put an encoder in the place of an earlier one; ``write`` makes the file that it is given, and the weights beside.

    Raises OSError.
    """
    root = _root(data_dir)
    root.mkdir(parents=True, exist_ok=True)
    earlier = _folders(model_path, data_dir)
    with tempfile.TemporaryDirectory(dir=root, prefix=".unfinished-") as unfinished:
        made = Path(unfinished) / "made"
        made.mkdir()
        write(made / _NETWORK)
        files = {name: ((made / name).stat().st_size, _checksum(made / name)) for name in (_NETWORK, _WEIGHTS)}
        text = json.dumps({"about": asdict(about), "files": files}, indent=1).encode()
        (made / _ABOUT).write_bytes(text)
        folder = root / f"{_prefix(model_path, data_dir)}-{_digest(text)}"
        made.replace(folder)
    for old in earlier:
        shutil.rmtree(old, ignore_errors=True)
    return read_optimized(folder)


def remove_optimized(model_path: Path, data_dir: Path) -> int:
    """Delete what was made for the model in ``model_path``; gives the bytes freed."""
    freed = 0
    for folder in _folders(model_path, data_dir):
        freed += sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder)
    return freed


def openvino_version() -> str:
    """That of the package; empty where it is not installed."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return ""


def processor_features() -> str:
    """What of the processor decides how products are computed; empty where the system does not tell."""
    return " ".join(sorted(name for name in cpu_features() if name.startswith(_INSTRUCTIONS)))


def _root(data_dir: Path) -> Path:
    return data_dir / "engines" / "optimized"


def _folders(model_path: Path, data_dir: Path) -> list[Path]:
    """Those of the model, the newest first."""
    found = _root(data_dir).glob(f"{_prefix(model_path, data_dir)}-*")
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def _prefix(model_path: Path, data_dir: Path) -> str:
    # A data folder may be moved with all that is in it.
    path, root = model_path.resolve(), data_dir.resolve()
    place = path.relative_to(root) if path.is_relative_to(root) else path
    return hashlib.sha256(str(place).encode()).hexdigest()[:16]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(_STEP):
            value = zlib.crc32(piece, value)
    return value

import os
import subprocess
import sys
from pathlib import Path


def test_no_library_keeps_records_for_its_maker(tmp_path: Path) -> None:
    # ONNX Runtime collects events in the home folder and sends them to its maker unless it is told not to;
    # under CI it does not, so that variable must not be there.
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "ORT_DISABLE_TELEMETRY"}}
    code = "from auricle.windows.silero import Silero; Silero()"
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True, timeout=60)
    assert not list(tmp_path.rglob("*"))


def test_openvino_does_not_report_its_imports(tmp_path: Path) -> None:
    # It does so from the import on, with an id that it keeps in the home folder, but under CI.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    code = "import auricle.engines.openvino_engine, sys; assert sys.modules['openvino_telemetry'] is None"
    subprocess.run([sys.executable, "-c", code], env=environment | {"HOME": str(tmp_path)}, check=True, timeout=60)
    assert not list(tmp_path.rglob("*"))

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from auricle.engines.ct2_format import count_layers, read_variables
from auricle.errors import EngineFailed
from samples import NANO


def test_the_variables_of_the_embedded_model_have_their_shapes():
    variables = read_variables(NANO / "model.bin")
    assert variables["decoder/embeddings/weight"].array.shape == (51865, 128)
    assert variables["encoder/conv1/weight"].array.shape == (128, 80, 3)
    positions = variables["encoder/position_encodings/encodings"].to_float32()
    # Whisper's encoder positions are sines and cosines: the first half begins at 0, the second at 1.
    np.testing.assert_allclose(positions[0], [0.0] * 64 + [1.0] * 64, atol=1e-3)


def test_layers_are_counted_a_part_at_a_time_and_norms_are_none():
    variables = read_variables(NANO / "model.bin")
    assert [count_layers(variables, part) for part in ("encoder", "decoder")] == [4, 4]
    names = ["decoder/layer_0/ffn", "decoder/layer_10/ffn", "decoder/layer_norm/beta", "encoder/layer_0/ffn"]
    assert count_layers(names, "decoder") == 2


@pytest.mark.parametrize("kept", [10, 1000, 5_000_000])
def test_a_file_that_breaks_off_is_called_damaged(tmp_path: Path, kept: int):
    path = tmp_path / "model.bin"
    path.write_bytes((NANO / "model.bin").read_bytes()[:kept])
    with pytest.raises(EngineFailed, match="damaged"):
        read_variables(path)


def test_a_file_of_another_version_is_refused(tmp_path: Path):
    path = tmp_path / "model.bin"
    shutil.copy(NANO / "model.bin", path)
    with path.open("r+b") as file:
        file.write(struct.pack("<I", 99))
    with pytest.raises(EngineFailed, match="version 99"):
        read_variables(path)

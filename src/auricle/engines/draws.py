"""The numbers that samples are drawn with."""

import hashlib

import numpy as np

from auricle.engines.rules import Floats
from auricle.types import Row

_BELOW_ONE = np.float32(1 - 2**-20)
"""No number drawn is larger, so that its share of a sum is less than the sum, rounded or not."""


def draw_numbers(row: Row, texts: int, limit: int) -> Floats:
    """(texts, limit) in [0, 1): one for each token of each text that is drawn for ``row``.

    They depend on the audio and the temperature alone: the samples are the same in any company and in every run.
    """
    heard = row.features if row.samples is None else row.samples
    name = hashlib.blake2b(np.ascontiguousarray(heard).data, digest_size=8)
    name.update(f"{row.options.temperature}".encode())
    random = np.random.default_rng(int.from_bytes(name.digest(), "little"))
    return np.minimum(random.random((texts, limit), np.float32), _BELOW_ONE)

"""What all tests share."""

import pytest
from samples import NANO

from auricle.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(NANO)

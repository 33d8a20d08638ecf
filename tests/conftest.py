"""What all tests share."""

import pytest

from auricle.tokenizer import Tokenizer
from samples import NANO


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(NANO)

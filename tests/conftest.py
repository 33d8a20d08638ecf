"""What all tests share."""

import logging
from collections.abc import Iterator

import pytest

from auricle.tokenizer import Tokenizer
from samples import NANO


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Commands set the log up for the process; the tests after them shall find it as they expect it."""
    loggers = [logging.getLogger(name) for name in (None, "auricle", "uvicorn")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(NANO)

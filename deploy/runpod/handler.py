"""The queue worker of a RunPod endpoint: ``python handler.py`` there, and with test_input.json anywhere else."""

import logging
import sys

import runpod  # pyright: ignore[reportMissingImports]

from auricle.errors import AuricleError
from auricle.logs import set_up_logging
from queue_worker import JobIdFilter, QueueWorker, worker_settings


def main() -> None:
    """Take jobs until RunPod ends this worker."""
    try:
        settings = worker_settings()
        set_up_logging(settings.log_level, settings.log_format)
        worker = QueueWorker(settings)
    except AuricleError as error:
        sys.exit(error.message)
    for receiver in logging.getLogger().handlers:
        receiver.addFilter(JobIdFilter())
    jobs = {"handler": worker.answer, "concurrency_modifier": worker.concurrency}
    runpod.serverless.start(jobs)  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    main()

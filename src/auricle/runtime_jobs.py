"""Jobs as the settings want them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from auricle.audio.fetch import BoundedFile, prepare_folder
from auricle.batching.metrics import Metrics
from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.jobs.build import JobLimits, build_jobs
from auricle.jobs.meter import AudioMeter
from auricle.jobs.service import Jobs, Sender
from auricle.jobs.webhook_message import check_webhook_secret
from auricle.pipeline.models import Models
from auricle.reuse.transcriber import CachingTranscriber

if TYPE_CHECKING:
    from auricle.store.deliveries import DeliveryStore
    from auricle.store.opening import JobStores


def open_jobs_service(
    settings: Settings,
    *,
    transcriber: CachingTranscriber,
    models: Models,
    identify: Callable[[str | None], Awaitable[str]],
    metrics: Metrics,
    meter: AudioMeter | None = None,
) -> Jobs:
    """The jobs; nothing is opened yet. Raises InvalidOption for a database or a secret that cannot be used."""
    _check_database(settings.database_url.get_secret_value())
    if secret := settings.webhook_secret.get_secret_value():
        check_webhook_secret(secret, param="webhook_secret")
    return build_jobs(
        settings.data_dir / "jobs",
        limits=JobLimits(
            max_running=settings.max_running_jobs,
            tries=settings.job_tries,
            max_queued=settings.max_queued_jobs,
            max_queued_per_owner=settings.max_queued_jobs_per_key,
            keep_for=timedelta(seconds=settings.job_retention_s),
            keep_audio_for=timedelta(seconds=settings.job_audio_retention_s),
            zero_retention=settings.zero_retention,
            close_s=settings.shutdown_timeout_s,
        ),
        open_stores=partial(_open_stores, settings),
        transcriber=transcriber,
        lease=models.lease,
        identify=identify,
        fetch=partial(_fetch, settings),
        meter=meter,
        make_sender=partial(_make_sender, settings),
        metrics=metrics,
    )


def _check_database(url: str) -> None:
    scheme = url.partition(":")[0].partition("+")[0]
    if url and scheme not in {"postgresql", "postgres", "sqlite"}:
        raise InvalidOption(
            "AURICLE_DATABASE_URL must begin with postgresql:// or sqlite:///; it is not repeated here, since it may "
            "hold a password.",
            param="database_url",
        )
    if scheme.startswith("postgres") and find_spec("psycopg") is None:
        raise InvalidOption(
            "AURICLE_DATABASE_URL needs psycopg, which is not installed: pip install 'auricle[postgres]'",
            param="database_url",
        )


# What follows is imported when jobs are used: the command line need not wait for SQLAlchemy and an HTTP client.


def _open_stores(settings: Settings) -> "JobStores":
    from auricle.store.opening import open_jobs  # noqa: PLC0415

    return open_jobs(settings.data_dir, url=settings.database_url.get_secret_value())


def _make_sender(settings: Settings, store: "DeliveryStore") -> Sender:
    from auricle.jobs.webhook import WebhookSender  # noqa: PLC0415
    from auricle.net.addresses import Allowlist  # noqa: PLC0415

    secret = settings.webhook_secret.get_secret_value() or None
    return WebhookSender(store, allow=Allowlist.parse(settings.url_allowlist), secret=secret)


async def _fetch(settings: Settings, url: str) -> BoundedFile:
    from auricle.net.addresses import Allowlist  # noqa: PLC0415
    from auricle.net.fetch import fetch_url  # noqa: PLC0415

    max_bytes = int(settings.max_upload_mb * (1 << 20))
    folder = settings.data_dir / "uploads"
    prepare_folder(folder)
    fetched = await fetch_url(
        url,
        partial(BoundedFile, folder, max_bytes=max_bytes),
        allow=Allowlist.parse(settings.url_allowlist),
        max_bytes=max_bytes,
        timeout_s=settings.max_url_s,
        min_bytes_s=settings.min_upload_kb_s * 1024,
    )
    return fetched.file

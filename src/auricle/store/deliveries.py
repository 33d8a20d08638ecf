"""Webhook deliveries: what is to be sent to whom, since when, and how often it was tried.

A delivery is added in the transaction that ends its job, so that a result without its webhook cannot happen; whoever
claims one has it for a while, and when that process dies, it is due again by itself.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, insert, select, true, update

from auricle.store.database import translate_errors, writing
from auricle.store.tables import deliveries
from auricle.store.transcripts import utc_now

TRY_FOR = timedelta(days=1)
"""How long a delivery is tried."""
_MAX_ERROR_CHARS = 300

DeliveryStatus = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What is known of a delivery, for its owner; ``next_at`` counts only while it is pending."""

    id: str
    job_id: str
    url: str
    status: DeliveryStatus
    attempts: int
    next_at: datetime
    last_status: int | None
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that is to be tried now; ``attempts`` counts this try too."""

    id: str
    url: str
    host: str
    headers: Mapping[str, str]
    secret: str | None
    body: bytes
    attempts: int
    expires_at: datetime


_table = deliveries.c
_KNOWN = select(
    _table.id,
    _table.job_id,
    _table.url,
    _table.status,
    _table.attempts,
    _table.next_at,
    _table.last_status,
    _table.last_error,
    _table.created_at,
    _table.delivered_at,
)
_CLAIMED = select(
    _table.id,
    _table.url,
    _table.host,
    _table.headers,
    _table.secret,
    _table.body,
    _table.attempts,
    _table.expires_at,
)


def add_delivery(
    connection: Connection,
    *,
    job_id: str,
    owner: str,
    url: str,
    headers: Mapping[str, str],
    secret: str | None,
    body: bytes,
    now: datetime,
) -> str:
    """Add a delivery within the connection's transaction, due at once; ``body`` is sent as it is. Returns its id."""
    delivery_id = str(uuid4())
    row = {
        "id": delivery_id,
        "job_id": job_id,
        "owner": owner,
        "url": url,
        "host": urlsplit(url).hostname or "",
        "headers": dict(headers),
        "secret": secret,
        "body": body,
        "status": "pending",
        "attempts": 0,
        "next_at": now,
        "expires_at": now + TRY_FOR,
        "created_at": now,
    }
    connection.execute(insert(deliveries).values(row))
    return delivery_id


def delete_deliveries(connection: Connection, job_ids: Collection[str]) -> None:
    """Forget all deliveries of these jobs, pending ones too, within the connection's transaction."""
    connection.execute(delete(deliveries).where(_table.job_id.in_(job_ids)))


class DeliveryStore:
    """Blocks; threads and processes may share it. Every method raises StoreUnavailable where the database fails.

    An ``owner`` of None stands for all owners.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    def claim_due(
        self, *, limit: int, per_host: int, in_flight: Mapping[str, int], lease: timedelta
    ) -> list[ClaimedDelivery]:
        """Take what is due, the longest due first: nobody else gets it before ``lease`` is over.

        No host gets more than ``per_host``, with those that it has ``in_flight``: deliveries to a slow one wait for
        one another only. So this may return less than ``limit`` though more is due, but not nothing.
        """
        now = self._now()
        query = (
            _CLAIMED.where(_table.status == "pending", _table.next_at <= now)
            .where(_table.host.not_in(_full_hosts(in_flight, per_host)))
            .order_by(_table.next_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = dict(in_flight)
        claimed: list[ClaimedDelivery] = []
        with translate_errors(), writing(self._engine).begin() as connection:
            for row in connection.execute(query):
                if taken.get(row.host, 0) < per_host:
                    taken[row.host] = taken.get(row.host, 0) + 1
                    claimed.append(_claimed(row))
            if claimed:
                mine = _table.id.in_([one.id for one in claimed])
                change = update(deliveries).where(mine).values(attempts=_table.attempts + 1, next_at=now + lease)
                connection.execute(change)
        return claimed

    def next_due(self, *, per_host: int, in_flight: Mapping[str, int]) -> datetime | None:
        """When the next delivery is due to a host that has room, if there is any."""
        hosts = _table.host.not_in(_full_hosts(in_flight, per_host))
        query = select(func.min(_table.next_at)).where(_table.status == "pending", hosts)
        with translate_errors(), self._engine.connect() as connection:
            return connection.execute(query).scalar()

    def mark_delivered(self, delivery: ClaimedDelivery, *, status: int) -> None:
        """The receiver took it."""
        self._mark(delivery, status="delivered", last_status=status, last_error=None, delivered_at=self._now())

    def mark_failed(
        self, delivery: ClaimedDelivery, *, status: int | None, error: str, retry_at: datetime | None
    ) -> None:
        """This try failed, with the receiver's HTTP ``status`` if it gave one: the next is at ``retry_at``, if any."""
        result: dict[str, Any] = {"last_status": status, "last_error": error[:_MAX_ERROR_CHARS]}
        self._mark(delivery, **result, **({"status": "failed"} if retry_at is None else {"next_at": retry_at}))

    def list_for_job(self, job_id: str, *, owner: str | None) -> list[Delivery]:
        """The deliveries of a job, oldest first; none for jobs of others."""
        query = _KNOWN.where(_table.job_id == job_id, _belongs_to(owner)).order_by(_table.created_at, _table.id)
        with translate_errors(), self._engine.connect() as connection:
            return [_known(row) for row in connection.execute(query)]

    def redeliver(self, delivery_id: str, *, owner: str | None) -> Delivery | None:
        """Make a delivery due now, whatever became of it, and try it for a day again; None where there is none."""
        now = self._now()
        mine = (_table.id == delivery_id) & _belongs_to(owner)
        anew = {"status": "pending", "attempts": 0, "next_at": now, "expires_at": now + TRY_FOR}
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(update(deliveries).where(mine).values(anew))
            row = connection.execute(_KNOWN.where(mine)).one_or_none()
        return None if row is None else _known(row)

    def _mark(self, delivery: ClaimedDelivery, **values: Any) -> None:
        # Whoever claimed it since, or wanted it delivered anew, decides what becomes of it.
        claim = (_table.id == delivery.id) & (_table.attempts == delivery.attempts) & (_table.status == "pending")
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(update(deliveries).where(claim).values(values))


def _belongs_to(owner: str | None) -> ColumnElement[bool]:
    return true() if owner is None else _table.owner == owner


def _full_hosts(in_flight: Mapping[str, int], per_host: int) -> list[str]:
    return [host for host, count in in_flight.items() if count >= per_host]


def _known(row: Row[*tuple[Any, ...]]) -> Delivery:
    return Delivery(**dict(row._mapping))  # pyright: ignore[reportPrivateUsage]


def _claimed(row: Row[*tuple[Any, ...]]) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=row.id,
        url=row.url,
        host=row.host,
        headers=row.headers,
        secret=row.secret,
        body=row.body,
        attempts=row.attempts + 1,
        expires_at=row.expires_at,
    )

"""Who asks, and what they may do. ``gate`` finds it out; routes take a ``Caller``."""

from dataclasses import dataclass, field
from typing import Annotated, Protocol

from fastapi import Depends
from starlette.requests import HTTPConnection

from auricle.errors import Forbidden, InvalidOption, ModelNotFound
from auricle.server.limits import Quota, Rates
from auricle.types import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The holder of a key, or whoever uses a server without keys."""

    owner: str = ""
    """Id of the key: what is made with it belongs to this owner, and to nobody else. Empty without keys."""
    name: str = "anonymous"
    tier: str | None = None
    rates: Rates = field(default_factory=Rates)
    priority: Priority | None = None
    """Class of the requests, and the most urgent that they may ask for; None leaves it to the settings."""
    models: tuple[str, ...] | None = None
    """Names of the models that may be used; None for all."""
    is_admin: bool = False
    """Whether models may be managed, and the usage of all keys be seen."""
    is_guest: bool = False
    """Came without a key to a server that has keys; gets to the public routes only."""


def principal_of(connection: HTTPConnection) -> Principal:
    """Who sent the request at hand."""
    return connection.scope["auricle.principal"]


def quota_of(connection: HTTPConnection) -> Quota:
    """What the request at hand takes of what its key may use."""
    return connection.scope["auricle.quota"]


# Dependencies name HTTPConnection so that they serve websockets too.
Caller = Annotated[Principal, Depends(principal_of)]
CallerQuota = Annotated[Quota, Depends(quota_of)]


def require_admin(caller: Caller) -> None:
    """For routes of operators. Raises Forbidden."""
    if caller.is_admin:
        return
    if caller.owner:
        raise Forbidden("This key may not do that; an admin key may (`auricle keys create --admin`).")
    raise Forbidden(
        "Models are managed from the server's own machine only, unless AURICLE_ALLOW_MODEL_ADMIN is set, or with an "
        "admin key where the server has keys."
    )


class ModelNames(Protocol):
    """What is asked of ``pipeline.models.Models``."""

    def stands_for(self, name: str | None) -> str: ...


def may_use_model(caller: Principal, models: ModelNames, name: str | None) -> bool:
    """Whether the key is for this model, by whichever of its names; None and ``default`` are the default model."""
    if caller.models is None:
        return True
    return models.stands_for(name) in {models.stands_for(allowed) for allowed in caller.models}


def check_model(caller: Principal, models: ModelNames, name: str | None) -> None:
    """Raises ModelNotFound where the key is not for this model."""
    if not may_use_model(caller, models, name):
        known = ", ".join(caller.models or ())
        raise ModelNotFound(
            f"There is no model {(name or 'default')[:100]!r} for this key; it may use: {known[:500]}.", param="model"
        )


def choose_priority(caller: Principal, asked: Priority | None, *, default: Priority, allow_realtime: bool) -> Priority:
    """The class of a request that asks for ``asked``, or for none. Raises InvalidOption for one that is not allowed."""
    if caller.priority is not None:
        if asked is not None and asked < caller.priority:
            raise InvalidOption(
                f"priority: the requests of this key are at most {caller.priority.name.lower()!r}.", param="priority"
            )
        return caller.priority if asked is None else asked
    if asked is Priority.REALTIME and not allow_realtime and default is not Priority.REALTIME:
        raise InvalidOption(
            "priority: this server takes 'interactive' and 'batch' only; 'realtime' needs AURICLE_ALLOW_REALTIME=true.",
            param="priority",
        )
    return default if asked is None else asked

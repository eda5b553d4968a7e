"""Callers, and what each may see.

A job belongs to the key that made it; its images and latents belong to the job. What belongs to
other callers is *not found*, never *forbidden*, so that no id is confirmed.

    key        sees                     ``user`` on a request
    ---        ----                     ---------------------
    plain      its own jobs             a label of its jobs, nothing more
    trusted    its own jobs             the end user it acts for: it sees that user's jobs only
    admin      all jobs                 as for trusted
    no keys    all jobs                 as for trusted; only this machine is admitted

Jobs from before the first key have no owner: only admins see them.

A key may name the models that it may use, an admin's too. Others are *not found*, like models that
the service does not have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Query, Request, Security
from fastapi.security import HTTPBearer

from cascade_core.errors import Forbidden, InvalidRequest
from cascade_core.printable import is_printable
from serve.served_models import Models
from serve.storage.access.credentials import ApiKey, KeyScope
from serve.storage.access.sessions import Session
from serve.storage.lineage import Viewpoint
from serve.storage.records import JobOwner
from serve.storage.schema.tables import MAX_USER_CHARS

SCOPE_ENTRY = "cascade.caller"
"""The key of the ASGI scope under which `serve.gateway.auth.middleware` stores the caller."""

_BEARER = Security(
    HTTPBearer(
        auto_error=False,
        scheme_name="ApiKey",
        description="`cascade keys create NAME` makes one. A server without any answers its own "
        "machine only, without a key.",
    )
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        key_id: the API key's id; None while the service has no keys.
        scopes: its permissions.
        user: the end user the request acts for; None: the key itself.
        session: the browser session that sent it; None: the key itself did.
        model_ids: of the models that it may use; None: all.
        sees_unnamed: jobs that were made without a key for no user are visible for any ``user``.
    """

    key_id: str | None
    scopes: frozenset[KeyScope]
    user: str | None = None
    session: Session | None = None
    model_ids: frozenset[str] | None = None
    sees_unnamed: bool = False

    @classmethod
    def of(cls, key: ApiKey, session: Session | None = None) -> Caller:
        """Return the sender of a request with a key, or with a session of the key."""
        model_ids = None if key.models is None else frozenset(key.models)
        return cls(key.id, key.scopes, session=session, model_ids=model_ids)

    @property
    def is_admin(self) -> bool:
        """Return True if the caller may do everything."""
        return "admin" in self.scopes

    def require(self, scope: KeyScope) -> None:
        """Check that a scope is granted.

        Raises:
            Forbidden: it is not.
        """
        if scope not in self.scopes and not self.is_admin:
            raise Forbidden(f"this API key does not have the scope {scope!r}")

    def models(self, served: Models) -> Models:
        """Return those of the service's models that the caller may use.

        Raises:
            Forbidden: none of them.
        """
        if self.model_ids is None:
            return served
        allowed = served.among(self.model_ids)
        if allowed is None:
            raise Forbidden("this API key may use none of the models here")
        return allowed

    def sees(self, owner: JobOwner) -> bool:
        """Return True if the caller may see this owner's jobs, images and latents."""
        if not self.is_admin and (self.key_id is None or owner.key_id != self.key_id):
            return False
        is_unnamed = self.sees_unnamed and owner == JobOwner(None, None)
        return self.user is None or owner.user == self.user or is_unnamed

    @property
    def viewpoint(self) -> Viewpoint:
        """The jobs that lists show it, beside one that it :meth:`sees`."""
        return Viewpoint(None if self.is_admin else self.key_id, self.user)

    def owner(self, user: str | None) -> JobOwner:
        """Return the owner of a job that the caller makes with this ``user``."""
        if self._acts_for_users:
            return JobOwner(self.key_id, user)
        return JobOwner(self.key_id, None, label=user)

    def acting_for(self, user: str | None) -> Caller:
        """Return the caller of a request whose body names this user.

        To a plain key the name is a label that restricts nothing.
        """
        return replace(self, user=user) if self._acts_for_users else self

    def varying_for(self, user: str | None) -> Caller:
        """Return the caller of a request whose body names this user and a picture to vary.

        Without keys, OpenAI's clients name any user, also to vary a picture that was made for none.
        Both the picture and the client belong to this machine.
        """
        return replace(self.acting_for(user), sees_unnamed=self.key_id is None)

    @property
    def _acts_for_users(self) -> bool:
        return self.is_admin or "trusted" in self.scopes


EVERYBODY = Caller(None, frozenset({"admin"}))
"""The caller of every request from this machine while there are no keys."""

UserFilter = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=MAX_USER_CHARS,
        description="Act for this end user: others' things are not found. Needs a trusted key.",
    ),
]


def _requires(scope: KeyScope) -> Callable[..., Awaitable[Caller]]:
    async def check(request: Request, _shown_in_docs: object = _BEARER) -> Caller:
        caller: Caller = request.scope[SCOPE_ENTRY]
        caller.require(scope)
        return caller

    return check


def _requires_for_user(scope: KeyScope) -> Callable[..., Awaitable[Caller]]:
    asking = Depends(_requires(scope))

    async def check(caller: Caller = asking, user: UserFilter = None) -> Caller:
        if user is None:
            return caller
        check_user(user)
        caller.require("trusted")
        return replace(caller, user=user)

    return check


def check_user(user: str | None) -> None:
    """Check a user's name.

    Raises:
        InvalidRequest: it has unprintable characters.
    """
    check_printable("user", user)


def check_printable(name: str, value: str | None) -> None:
    """Check that text can be shown and stored.

    Raises:
        InvalidRequest: it has unprintable characters.
    """
    if value is not None and not is_printable(value):
        raise InvalidRequest(f"{name} must be printable text", name)


Reader = Annotated[Caller, Depends(_requires("read"))]
"""A route with a parameter of this type needs the scope ``read``."""

Creator = Annotated[Caller, Depends(_requires("create"))]
"""A route with a parameter of this type needs the scope ``create``."""

Administrator = Annotated[Caller, Depends(_requires("admin"))]
"""A route with a parameter of this type needs an admin's key."""

Publisher = Annotated[Caller, Depends(_requires("publish"))]
"""A route with a parameter of this type needs the scope ``publish``."""

Viewer = Annotated[Caller, Depends(_requires_for_user("read"))]
"""Like Reader; ``?user=`` restricts the request to an end user's jobs and images."""

Editor = Annotated[Caller, Depends(_requires_for_user("create"))]
"""Like Creator; ``?user=`` restricts the request to an end user's jobs and images."""

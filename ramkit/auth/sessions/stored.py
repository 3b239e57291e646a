"""Sessions in a store: the cookie has an id, the store what belongs to it."""

import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from ramkit.auth.sessions.core.cookies import Cookie
from ramkit.auth.sessions.core.ids import hash_of, new_id, subject_hash
from ramkit.auth.sessions.core.record import (
    NIL,
    NOBODY,
    Change,
    Fields,
    Record,
    change_between,
    map_of,
    size_of,
)
from ramkit.auth.sessions.errors import SessionTooLarge
from ramkit.auth.sessions.events import SessionRead, SessionWrite
from ramkit.auth.sessions.keeping import Keeping, Late
from ramkit.auth.sessions.policy import Lifetime
from ramkit.auth.sessions.port import Outcome, SessionStore
from ramkit.auth.sessions.session import Session
from ramkit.kernel.asgi import RawHeaders, Scope
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import Unavailable
from ramkit.kernel.lifespan import Resource
from ramkit.kernel.observers import Observer, notify

__all__ = ["ServerSide", "Subject"]

_log = logging.getLogger("ramkit.auth")

#: Keys of one session: merging takes some 2 µs for each, and the loop waits meanwhile.
_MOST_KEYS = 1000

#: whose a session is: the key that says so, or a function of the scope
Subject = str | Callable[[Scope], Any]


class ServerSide(NamedTuple):
    """The keeper of sessions in a store."""

    store: SessionStore
    lifetime: Lifetime
    cookie: Cookie
    subject: Subject
    max_bytes: int
    observers: tuple[Observer, ...]
    resources: tuple[Resource, ...]

    async def load(self, headers: RawHeaders, context: RequestContext) -> Keeping:
        value = self.cookie.read(headers)
        key = None if value is None else hash_of(value)
        if key is None:
            return _Stored(self, None, None, Session(context=context))
        try:
            record = await self.store.read(key)
            session = None if record is None else Session(record.body, handle=key.hex(), context=context)
        except Unavailable as error:
            self.tell(SessionRead, "unavailable")
            return _Stored(self, None, None, Session(error=error, context=context))
        except (ValueError, RecursionError):  # damaged
            record = session = None
        if record is None or session is None:
            self.tell(SessionRead, "unknown")
            # An id that a client brings is never adopted: what is stored gets one of ours.
            return _Stored(self, None, None, Session(context=context))
        self.tell(SessionRead, "found")
        return _Stored(self, key, record, session)

    def tell(self, event: type[SessionRead | SessionWrite], result: str) -> None:
        if self.observers:
            notify(self.observers, event(result))

    def subject_of(self, scope: Scope, fields: Fields) -> bytes:
        """The hash of whom a session that holds these belongs to."""
        if not isinstance(self.subject, str):
            return subject_hash(self.subject(scope))
        data = fields.get(self.subject, NIL)
        return NOBODY if data == NIL else sha256(data).digest()


class _Stored:
    """One request's session, and the record that it was read from.

    ``_dead``: somebody else has ended it meanwhile; nothing of it is stored any more.
    """

    __slots__ = ("_dead", "_keeper", "_key", "_record", "session")

    def __init__(
        self, keeper: ServerSide, key: bytes | None, record: Record | None, session: Session
    ) -> None:
        self._keeper, self._key, self._record, self.session = keeper, key, record, session
        self._dead = False

    def pending(self) -> bool:
        return self._changed() or self._old()

    def _old(self) -> bool:
        """It is to be extended."""
        record, keeper = self._record, self._keeper
        return record is not None and keeper.store.now() - record.seen >= keeper.lifetime.extend_after

    def _changed(self) -> bool:
        session = self.session
        if session.accessed and self._record is not None and not isinstance(self._keeper.subject, str):
            return not session.failed  # a function may give another subject though nothing has changed
        return session.modified

    async def keep(self, scope: Scope, *, cookie: bool) -> bytes | None:
        try:
            return await self._keep(scope, cookie=cookie)
        except Unavailable:
            self._keeper.tell(SessionWrite, "unavailable")
            raise
        except SessionTooLarge:
            self._keeper.tell(SessionWrite, "too_large")
            raise

    async def _keep(self, scope: Scope, *, cookie: bool) -> bytes | None:
        session, was = self.session, self._record
        if self._dead or not self._changed():
            await self._extend()
            return None
        fields = session.fields
        change = change_between(session.base, fields)
        if session.cleared or (was is not None and change and not fields):
            return await self._end(scope, fields, cookie=cookie)
        if self._key is None or was is None:
            return await self._create(scope, fields, cookie=cookie) if change and fields else None
        subject = was.subject
        if change or not isinstance(self._keeper.subject, str):
            subject = self._keeper.subject_of(scope, fields)
        if session.renewing or subject != was.subject:
            return await self._regenerate(change, fields, subject, was, cookie=cookie)
        if change:
            return await self._change(change, fields, was)
        await self._extend()
        return None

    async def _extend(self) -> None:
        """Now and then; a response does not fail because of it."""
        store, lifetime, record = self._keeper.store, self._keeper.lifetime, self._record
        if record is None or self._key is None or not self._old():
            return
        self._record = record._replace(seen=store.now())
        try:
            await store.change(self._key, record.subject, Change({}, ()), lifetime, self._keeper.max_bytes)
        except Unavailable as error:
            _log.info("a session was not extended: %s", error)

    async def _end(self, scope: Scope, fields: Fields, *, cookie: bool) -> bytes | None:
        """Log out, and begin anew if something was set afterwards."""
        key, self._key, self._record = self._key, None, None
        if key is not None:
            await self._keeper.store.take(key)
            self._keeper.tell(SessionWrite, "ended")
        self.session.rebase(None)
        if fields:
            return await self._create(scope, fields, cookie=cookie)
        return self._keeper.cookie.removed() if key is not None else None

    async def _create(self, scope: Scope, fields: Fields, *, cookie: bool) -> bytes:
        subject = self._keeper.subject_of(scope, fields)
        return await self._make(subject, Change(fields, ()), fields, None, cookie=cookie) or b""

    async def _regenerate(
        self, change: Change, fields: Fields, subject: bytes, was: Record, *, cookie: bool
    ) -> bytes | None:
        made = await self._make(subject, change, fields, self._key, cookie=cookie)
        if made is None and subject not in (NOBODY, was.subject):
            # The old one ended meanwhile, but somebody has logged in just now: that counts, without the rest.
            return await self._make(subject, Change(change.sets, ()), fields, None, cookie=cookie)
        return made

    async def _make(
        self, subject: bytes, change: Change, fields: Fields, replacing: bytes | None, *, cookie: bool
    ) -> bytes | None:
        """The cookie of a new id; None if the session to be replaced is no more."""
        if not cookie:
            raise Late
        keeper, value = self._keeper, new_id()
        self._check(fields)
        key = hash_of(value) or b""
        outcome = await keeper.store.create(
            key, subject, change, keeper.lifetime, keeper.max_bytes, replacing=replacing
        )
        if not self._arrived(outcome, "created" if replacing is None else "regenerated"):
            return None
        now = keeper.store.now()
        self._key, self._record = (
            key,
            Record(now, now + keeper.lifetime.absolute, now, subject, map_of(fields)),
        )
        self._dead = False
        self.session.rebase(key.hex())
        return keeper.cookie.kept(value, keeper.lifetime.absolute)

    async def _change(self, change: Change, fields: Fields, was: Record) -> bytes | None:
        keeper, key = self._keeper, self._key or b""
        self._check(fields)
        outcome = await keeper.store.change(key, was.subject, change, keeper.lifetime, keeper.max_bytes)
        if not self._arrived(outcome, "changed"):
            return keeper.cookie.removed() if outcome.what == "ended" else None
        self._record = was._replace(seen=keeper.store.now(), body=map_of(fields))
        self.session.rebase(key.hex())
        return None

    def _arrived(self, outcome: Outcome, what: str) -> bool:
        if outcome.what == "large":
            raise SessionTooLarge(outcome.size, self._keeper.max_bytes)
        if outcome.what != "stored":
            self._key = self._record = None
            self._dead = outcome.what == "gone"
            self.session.rebase(None)
        self._keeper.tell(SessionWrite, what if outcome.what == "stored" else outcome.what)
        return outcome.what == "stored"

    def _check(self, fields: Fields) -> None:
        size = size_of(fields)
        if size > self._keeper.max_bytes:
            raise SessionTooLarge(size, self._keeper.max_bytes)
        if len(fields) > _MOST_KEYS:
            raise SessionTooLarge(len(fields), _MOST_KEYS, "keys")

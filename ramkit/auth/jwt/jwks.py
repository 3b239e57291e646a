"""An issuer's keys, fetched and kept fresh (RFC 7517)."""

import asyncio
import logging
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from ramkit.auth.jwt.core.keys import Key, KeySet, public_part
from ramkit.auth.jwt.errors import KeysUnavailable
from ramkit.auth.jwt.events import JWKSFetch
from ramkit.auth.jwt.policy import check_seconds
from ramkit.kernel.clock import Clock, SystemClock
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.lifespan import LoopBound
from ramkit.kernel.observers import Observer, notify, observers_of

if TYPE_CHECKING:
    import httpx

__all__ = ["JWKSClient"]

_log = logging.getLogger("ramkit")

#: Seconds: until the next try when there are no keys at all, and the longest that a max-age is believed.
_RETRY: Final = 1.0
_LONGEST: Final = 86_400.0
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)
#: RFC 9110 §8.8.3, and no more of it than can be sent back
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
#: keys of a document; and those that are looked at in one turn of the loop, some 50 µs each
_MOST, _AT_ONCE = 100, 10
_NOT_KEPT = re.compile(r"(?:^|[,\s])(?:no-store|no-cache)(?:[,\s]|$)", re.IGNORECASE)


class JWKSClient(LoopBound):
    """The key set at ``url``, for ``JWTService(keys=…)``.

    It is fetched with the first use, and again when its ``max-age`` has passed (``max_age`` seconds where it
    names none), in the background, with its ETag. A token with an unknown ``kid`` has it fetched at once, but
    not within ``cooldown`` seconds of the last time. One fetch is under way at a time; it takes at most
    ``timeout`` seconds and ``max_bytes``, follows no redirect, and goes over https only, unless
    ``plain_http_lets_others_forge_keys``. While the issuer does not answer, the last keys serve for
    ``outage`` seconds beyond their age; then it is 503. Keys that are gone from the set verify nothing any
    more. Those that are malformed, too short, secret or not for signatures are left out,
    and only those; a document of more than 100 keys counts as failed.

    ``client``: your own ``httpx.AsyncClient``, which stays open.
    """

    def __init__(
        self,
        url: str,
        *,
        max_age: float = 600,
        cooldown: float = 30,
        timeout: float = 5,
        outage: float = 3600,
        max_bytes: int = 2**17,
        plain_http_lets_others_forge_keys: bool = False,
        client: "httpx.AsyncClient | None" = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        super().__init__()
        self.url = _checked(url, plain=plain_http_lets_others_forge_keys)
        self._max_age, self._cooldown = check_seconds("max_age", max_age), check_seconds("cooldown", cooldown)
        self._timeout, self._outage = (
            check_seconds("timeout", timeout),
            check_seconds("outage", outage, zero=True),
        )
        if max_bytes < 1:
            raise ConfigurationError("max_bytes", f"{max_bytes!r} is no number of bytes")
        self._max_bytes = max_bytes
        self._monotonic = (clock if clock is not None else SystemClock()).monotonic
        self._observers = observers_of(observers)
        self._theirs, self._client = client, client
        #: the keys as they were last seen; the same object for ever
        self.keys = KeySet()
        self._document: list[object] = []
        self._etag: str | None = None
        #: monotonic: when to fetch anew, until when the keys may be used, when the last fetch began, when the
        #: next one may after a failure
        self._refresh_at = self._dead_at = self._tried = self._retry_at = -math.inf
        self._flight: asyncio.Task[None] | None = None

    # -- what the service asks --

    def look(self) -> None:
        """Begin to fetch if it is time; raises ``KeysUnavailable`` when there are no keys that may be
        used."""
        moment = self._monotonic()
        if moment < self._refresh_at:
            return
        with suppress(RuntimeError):  # no loop runs: the next call from one begins
            self._fly(moment)
        if moment >= self._dead_at:
            raise KeysUnavailable("The keys of the tokens' issuer cannot be had at the moment.")

    async def ready(self) -> None:
        """Wait for the first keys, or for others when those that there are may not be used any more."""
        moment = self._monotonic()
        if moment >= self._dead_at and (flight := self._fly(moment)) is not None:
            await asyncio.wait([flight])  # neither does who is cancelled cancel it, nor the other way round

    async def look_for_more(self) -> bool:
        """Fetch because a token names an unknown key; whether that changed anything."""
        moment, version = self._monotonic(), self.keys.version
        if moment - self._tried >= self._cooldown:
            self._retry_at = -math.inf
        flight = self._fly(moment) if moment - self._tried >= self._cooldown else self._under_way()
        if flight is not None:
            await asyncio.wait([flight])
        return self.keys.version != version

    async def start(self) -> None:
        """Fetch now; never raises because the issuer is away."""
        await self.ready()

    def forget(self) -> None:
        self._flight, self._client = None, self._theirs

    async def aclose(self) -> None:
        await super().aclose()
        client, self._client, self._flight = self._client, self._theirs, None
        if client is not None and client is not self._theirs:
            await client.aclose()

    # -- fetching --

    def _under_way(self) -> "asyncio.Task[None] | None":
        return self._flight if self._flight is not None and not self._flight.done() else None

    def _fly(self, moment: float) -> "asyncio.Task[None] | None":
        """The fetch that is under way, or a new one; None when it is too early after a failure."""
        self.attach()
        flight = self._under_way()
        if flight is None and moment >= self._retry_at:
            self._tried = moment
            flight = self._flight = asyncio.get_running_loop().create_task(self._fetch())
            self.spawn(flight)
        return flight

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                result, skipped = await self._ask()
        except Exception as error:  # whatever went wrong on the way: the last good keys serve
            _log.warning("the keys at %s were not fetched: %s", self.url, str(error) or type(error).__name__)
            self._retry_at = self._monotonic() + (self._cooldown if len(self.keys) else _RETRY)
            result, skipped = "failed", 0
        if self._observers:
            notify(self._observers, JWKSFetch(self.url, result, len(self.keys), skipped))

    async def _ask(self) -> tuple[str, int]:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout, follow_redirects=False)
        # what is compressed could be small on the way and large here
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        if self._etag is not None:
            headers["if-none-match"] = self._etag
        async with self._client.stream("GET", self.url, headers=headers, follow_redirects=False) as response:
            if response.status_code == 304 and self._etag is not None:
                self._renew(response.headers)
                return "unchanged", 0
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ValueError("it is compressed")
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_bytes:
                    raise ValueError(f"longer than {self._max_bytes} bytes")
        skipped = await self._take(bytes(body))
        etag = response.headers.get("etag", "")
        self._etag = etag if _ETAG.fullmatch(etag) else None
        self._renew(response.headers)
        return "fetched", skipped

    async def _take(self, body: bytes) -> int:
        """The usable keys of a document; how many are not. Raises ValueError for what is no key set."""
        parsed: Any = msgspec.json.decode(body)
        listed = cast(dict[str, Any], parsed).get("keys") if isinstance(parsed, dict) else None
        if not isinstance(listed, list):
            raise ValueError("it is no JWK Set")
        document = cast(list[object], listed)
        if len(document) > _MOST:
            raise ValueError(f"more than {_MOST} keys")
        keys: list[Key] = []
        for number, each in enumerate(document):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                keys.append(Key.from_jwk(public_part(each)))
            except ConfigurationError as error:
                _log.warning("a key at %s is left out: %s", self.url, error)
        if document and not keys:
            raise ValueError("none of its keys can be used")
        if document != self._document:
            self._document = document
            self.keys.replace(keys)
        return len(document) - len(keys)

    def _renew(self, headers: Any) -> None:
        control, age = headers.get("cache-control", ""), headers.get("age", "")
        said = _MAX_AGE.search(control)
        lifetime = self._max_age
        if said is not None:
            lifetime = float(said[1]) - (float(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0)
        if _NOT_KEPT.search(control):
            lifetime = 0
        moment = self._monotonic()
        self._refresh_at = moment + min(max(lifetime, self._cooldown), _LONGEST)
        self._dead_at = self._refresh_at + self._outage
        self._retry_at = -math.inf


def _checked(url: str, *, plain: bool) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError("url", f"{url!r} is no URL") from None
    if parts.scheme not in ("https", "http") or not host or "@" in parts.netloc:
        raise ConfigurationError("url", f"{url!r} is no https URL")
    if parts.scheme == "http" and not plain:
        raise ConfigurationError("url", f"{url!r} is not https: whoever is on the way could name the keys")
    return url

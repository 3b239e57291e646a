"""Where lines go, as a URL says it."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from ramkit.kernel.errors import ConfigurationError

__all__ = ["FACILITIES", "Dates", "File", "Stream", "Syslog", "target_of"]

#: How times are written, in UTC: ``2026-01-31T12:00:00.123Z`` or ``2026-01-31 12:00:00 Z``.
Dates: TypeAlias = Literal["rfc3339", "YYYY-MM-DD HH:mm:ss Z"]

#: RFC 5424 §6.2.1, by the names of syslog.conf
FACILITIES = {"user": 1, "daemon": 3, "auth": 4, **{f"local{number}": 16 + number for number in range(8)}}


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Standard output or standard error, by its descriptor."""

    descriptor: int


@dataclass(frozen=True, kw_only=True)
class File:
    """``path``: an absolute one."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Syslog:
    """RFC 5424 to a Unix datagram socket (``path``), or to ``host`` and ``port`` by UDP or TCP.

    ``facility``: one of ``FACILITIES``. ``app``: the APP-NAME.
    """

    path: str | None = None
    host: str = ""
    port: int = 0
    tcp: bool = False
    facility: str = "user"
    app: str = "ramkit"

    def __post_init__(self) -> None:
        if self.facility not in FACILITIES:
            raise ConfigurationError("sink", f"there is no facility {self.facility!r}")
        # RFC 5424 §6: PRINTUSASCII
        if not (0 < len(self.app) <= 48 and all("!" <= each <= "~" for each in self.app)):
            raise ConfigurationError("sink", f"{self.app!r} is no name for an app in syslog")


def target_of(url: str) -> Stream | File | Syslog:
    """What a sink's URL names.

    ``stdout``, ``stderr``, ``file:///var/log/access.log``, ``syslog:///dev/log``, ``syslog://host:514``
    (UDP), ``syslog+tcp://host:601``; those of syslog take ``?facility=local0&app=shop``. Raises
    ``ConfigurationError``.
    """
    if url in ("stdout", "stderr"):
        return Stream(descriptor=1 if url == "stdout" else 2)
    try:
        parts = urlsplit(url)
        port = parts.port
        options: dict[str, Any] = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError as error:
        raise ConfigurationError("sink", f"{url!r}: {error}") from None
    path = unquote(parts.path)
    named = not parts.netloc and path.startswith("/") and path.strip("/") != ""
    plain = not (parts.fragment or parts.username is not None)
    if parts.scheme == "file" and plain and named and not parts.query:
        return File(path=path)
    if parts.scheme in ("syslog", "syslog+tcp") and plain and not options.keys() - {"facility", "app"}:
        tcp = parts.scheme == "syslog+tcp"
        if parts.hostname and path in ("", "/"):
            # RFC 5426 §3.3; port 601 is IANA's syslog-conn
            port = port or (601 if tcp else 514)
            return Syslog(host=parts.hostname, port=port, tcp=tcp, **options)
        if named and not tcp:
            return Syslog(path=path, **options)
    raise ConfigurationError("sink", f"{url!r} is no stdout, stderr, file:///path, syslog:///path, "
                             "syslog://host:port or syslog+tcp://host:port")  # fmt: skip

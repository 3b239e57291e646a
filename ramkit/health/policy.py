"""What is asked, where, how long it may take, and who may see what came of it."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, TypeAlias

from ramkit.kernel.client import IPAddress
from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.token import token_bytes

__all__ = ["Access", "Check", "Question", "questions"]

Question: TypeAlias = Literal["health", "livez", "readyz"]
_Network: TypeAlias = IPv4Network | IPv6Network

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
#: A token that can be guessed guards nothing.
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One question about this process's health.

    ``name``: how it is called in detail and metrics. ``call``: a function of nothing, plain or async; it
    fails when it raises or brings False, and a mapping that it brings is shown as detail. ``deadline``:
    seconds that it may take. ``keep``: seconds that its result is given to further probes. ``critical``:
    a failure makes the process unready; otherwise it is a warning. ``live``: a failure makes ``/livez``
    fail as well, so that the process is started anew: for what only that can cure. ``thread``: the
    function blocks and is called in a thread of its own.
    """

    name: str
    call: Callable[[], Awaitable[object] | object]
    _: KW_ONLY
    deadline: float = 1.0
    keep: float = 1.0
    critical: bool = True
    live: bool = False
    thread: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                "name", f"{self.name!r}: letters, digits, '_', '.', ':', '-', at most 64"
            )
        if not callable(self.call):
            raise ConfigurationError("call", f"{self.call!r} is not callable")
        if not self.deadline > 0:
            raise ConfigurationError("deadline", f"seconds, more than 0, not {self.deadline!r}")
        if not self.keep >= 0:
            raise ConfigurationError("keep", f"seconds, not {self.keep!r}")


def questions(*, health: str, livez: str, readyz: str) -> dict[str, Question]:
    """Which path asks what."""
    paths: dict[Question, str] = {"health": health, "livez": livez, "readyz": readyz}
    for name, path in paths.items():
        if not path.startswith("/"):
            raise ConfigurationError(name, f"{path!r} does not begin with '/'")
    asked: dict[str, Question] = {path: name for name, path in paths.items()}
    if len(asked) < len(paths):
        raise ConfigurationError("health", "health, livez and readyz need a path each")
    return asked


@dataclass(frozen=True, slots=True)
class Access:
    """Who may see what each check said: who brings the token, and clients at these addresses. By default
    nobody: behind a proxy on the same machine, loopback is everybody."""

    token: bytes | None = None
    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, token: str | None, networks: Iterable[str]) -> "Access":
        if isinstance(networks, str):
            raise ConfigurationError("detail_to", f"{networks!r} is one string: give a list of them")
        if token is not None and len(token) < _SHORTEST_TOKEN:
            raise ConfigurationError("detail_token", f"is shorter than {_SHORTEST_TOKEN} characters")
        wanted = None if token is None else token_bytes("detail_token", token)
        return cls(wanted, tuple(map(_network, networks)))

    def admits(self, address: IPAddress | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def _network(text: str) -> _Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ConfigurationError("detail_to", f"{text!r}: {error}") from None
    if network.prefixlen == 0:
        raise ConfigurationError("detail_to", f"{text!r} is everybody: errors name hosts and users")
    return network

"""What can go wrong on the way to an upstream, each with the status that the client gets."""

from typing import ClassVar

from ramkit.kernel.errors import RamkitError

__all__ = [
    "BadRequest",
    "BadResponse",
    "ClientGone",
    "ConnectFailed",
    "ConnectTimeout",
    "FirstByteTimeout",
    "GatewayError",
    "IdleTimeout",
    "NoServer",
    "RequestTimeout",
    "UpstreamReset",
    "UpstreamTimeout",
]


class GatewayError(RamkitError):
    """An exchange that did not come to its end. The message is for the log; ``detail`` is for the client."""

    status: ClassVar[int] = 502
    detail: ClassVar[str] = "The upstream could not be reached."


class ConnectFailed(GatewayError):
    """No connection: refused, unreachable, or its TLS failed. Nothing was sent."""

    detail = "The upstream refused the connection."


class UpstreamReset(GatewayError):
    """The connection ended before the response did."""

    detail = "The upstream closed the connection before its response was complete."


class BadResponse(GatewayError):
    """What the upstream sent is no HTTP/1.1 response (RFC 9110 §15.6.3)."""

    detail = "The upstream sent a response that is not valid HTTP."


class UpstreamTimeout(GatewayError):
    """The upstream let a deadline pass (RFC 9110 §15.6.5)."""

    status = 504


class ConnectTimeout(UpstreamTimeout):
    """No connection in time. Nothing was sent."""

    detail = "The upstream did not accept the connection in time."


class FirstByteTimeout(UpstreamTimeout):
    """No response in time."""

    detail = "The upstream did not begin its response in time."


class IdleTimeout(UpstreamTimeout):
    """Nothing was read or written for too long."""

    detail = "The upstream stopped in the middle of the exchange."


class NoServer(GatewayError):
    """No server is healthy, or the breaker is open (RFC 9110 §15.6.4)."""

    status = 503
    detail = "No server can take this request now."


class BadRequest(GatewayError):
    """A request that must not be passed on, or not as it stands."""

    status = 400
    detail = "The request's body is not what its header announced."


class RequestTimeout(GatewayError):
    """The client stopped in the middle of its body (RFC 9110 §15.5.9)."""

    status = 408
    detail = "The request's body did not arrive in time."


class ClientGone(GatewayError):
    """Nobody waits for the response any more."""

    status = 499

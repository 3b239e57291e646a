"""Labels that nobody can invent."""

__all__ = ["METHODS", "OTHER", "OVERFLOW", "label", "status_class"]

#: of RFC 9110 §9.3, and PATCH (RFC 5789)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
#: the method of all that anybody can invent, as OpenTelemetry names it
OTHER = "_OTHER"
#: the route of what came after the bound on label sets
OVERFLOW = "overflow"
#: characters of a label's value
_LONGEST = 256


def label(value: object) -> str:
    """What may be a label's value: not without end, and with nothing that UTF-8 cannot say, which would make
    the whole exposition fail."""
    return str(value)[:_LONGEST].encode("utf-8", "replace").decode()


def status_class(status: int) -> str:
    """``"5xx"``, by the first digit (RFC 9110 §15)."""
    return f"{status // 100}xx" if 100 <= status <= 599 else "xxx"

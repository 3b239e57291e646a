"""Which pages of other origins may read what the app says."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, cast

from ramkit.kernel.errors import ConfigurationError

__all__ = ["CORS"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class CORS:
    """Cross-origin resource sharing, as the Fetch standard has it (§3.2).

    ``origins``: ``["https://app.example.org"]``, or ``["*"]``. ``headers``: of requests, beyond the
    safelisted. ``credentials``: whether cookies come along; never for every origin. ``expose``: of
    responses, what pages may read. ``max_age``: seconds for which a browser remembers a preflight.
    """

    origins: Sequence[str]
    _: KW_ONLY
    methods: Sequence[str] = _METHODS
    headers: Sequence[str] = ("content-type", "authorization")
    credentials: bool = False
    expose: Sequence[str] = ()
    max_age: int = 600

    def __post_init__(self) -> None:
        for name in ("origins", "methods", "headers", "expose"):
            if isinstance(getattr(self, name), str):
                raise ConfigurationError(name, "is one string: give a list of them")
        for origin in self.origins:
            named = isinstance(cast(object, origin), str) and origin.count("/") == 2 and "://" in origin
            if origin != "*" and not named:
                raise ConfigurationError(
                    "origins", f"{origin!r} is no origin: scheme://host, without a slash at its end"
                )
        if self.credentials and "*" in (*self.origins, *self.headers, *self.methods):
            raise ConfigurationError(
                "credentials", "are not for everybody: name origins, headers and methods"
            )

    def options(self) -> dict[str, Any]:
        """For Starlette's CORSMiddleware."""
        return {
            "allow_origins": list(self.origins),
            "allow_methods": list(self.methods),
            "allow_headers": list(self.headers),
            "allow_credentials": self.credentials,
            "expose_headers": list(self.expose),
            "max_age": self.max_age,
        }

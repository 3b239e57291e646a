"""Errors that every room shares."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException

__all__ = ["ConfigurationError", "RamkitError", "Unavailable"]


class RamkitError(Exception):
    """Base of all errors that ramkit raises."""


class ConfigurationError(RamkitError, ValueError):
    """A mistake in an argument, found when the part was made; the message names the argument."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(f"{argument}: {problem}")
        self.argument = argument


class Unavailable(RamkitError, HTTPException):
    """A helper (Redis, Postgres) did not answer. Let through by a handler, it is a 503."""

    def __init__(
        self, detail: str, *, retry_after: int = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        HTTPException.__init__(
            self, status_code=503, detail=detail, headers={"retry-after": str(retry_after), **(headers or {})}
        )

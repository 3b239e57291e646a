"""What a health check is: rooms' objects can offer one, the room ``health`` runs them."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

__all__ = ["HealthCheck"]

#: Called on the loop, awaited if what it returns can be. It fails when it raises, or brings False; a
#: mapping that it brings are details, for whoever may see them.
HealthCheck: TypeAlias = Callable[[], Awaitable[object] | object]

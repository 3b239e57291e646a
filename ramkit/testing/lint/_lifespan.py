"""One lifespan: startup, its answer, shutdown, its answer."""

from typing import Literal

from ramkit.kernel.asgi import Message, Scope
from ramkit.testing.lint._rules import LintError, check_optional_str, require

__all__ = ["LifespanConnection"]

_ANSWERS = {
    "lifespan.startup.complete": "startup",
    "lifespan.startup.failed": "startup",
    "lifespan.shutdown.complete": "shutdown",
    "lifespan.shutdown.failed": "shutdown",
}
_Phase = Literal["new", "startup", "running", "shutdown", "over"]


class LifespanConnection:
    """ASGI Lifespan 2.0. An app that does not take part raises; it does not return."""

    def __init__(self, scope: Scope) -> None:  # noqa: ARG002  # as the other connections are made
        self.gone = self.overlapped = False
        self._phase: _Phase = "new"

    def received(self, message: Message) -> None:
        kind: str = message["type"]
        if kind == "lifespan.startup":
            section = "ASGI Lifespan, Startup"
            require(self._phase == "new", "lifespan-startup", f"{kind} for the second time", section)
            self._phase = "startup"
        elif kind == "lifespan.shutdown":
            section = "ASGI Lifespan, Shutdown"
            require(self._phase == "running", "lifespan-shutdown", f"{kind} in phase {self._phase}", section)
            self._phase = "shutdown"
        else:
            raise LintError("message-type", f"{kind!r} is none that a server sends", "ASGI Lifespan")

    def sending(self, message: Message) -> None:
        kind: str = message["type"]
        answers = _ANSWERS.get(kind)
        section = f"ASGI Lifespan, {kind.removeprefix('lifespan.').replace('.', ' ').title()}"
        require(answers is not None, "message-type", f"{kind!r} is none that an app sends", "ASGI Lifespan")
        require(answers == self._phase, "lifespan-order", f"{kind} in phase {self._phase}", section)
        check_optional_str(message, "message", section)
        self._phase = "running" if kind == "lifespan.startup.complete" else "over"

    def returned(self) -> None:
        problem = f"the app returned in phase {self._phase} instead of raising"
        require(self._phase == "over", "lifespan-return", problem, "ASGI Lifespan, Scope")

"""What the tour prints: steps, requests, checks."""

import os
import sys
import textwrap
from typing import Any, TextIO

from ramkit.demo.client import Reply

__all__ = ["Report"]

_BOLD, _DIM, _RED, _GREEN, _PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"


class Report:
    """Prints to ``out`` and remembers what failed. Colours on a terminal, unless NO_COLOR is set."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stdout
        self._colours = self._out.isatty() and not os.environ.get("NO_COLOR")
        self._yes, self._no, self._dot = ("✓", "✗", "·") if self._can("✓✗·") else ("ok", "FAILED", "-")
        self._steps = 0
        self.failures: list[str] = []

    def step(self, title: str, shows: str) -> None:
        """A new step, and what it is to show."""
        self._steps += 1
        self._print(f"\n{self._styled(_BOLD, f'{self._steps:>2}  {title}')}")
        for line in textwrap.wrap(shows, 96):
            self._print(self._styled(_DIM, f"    {line}"))

    def reply(self, reply: Reply) -> None:
        """A request and what came back."""
        made = f", render {reply.render}" if reply.render else ""
        self._print(
            f"    {reply.request:<32} {reply.status}  worker {reply.worker}  {reply.cache:<11} "
            f"{reply.seconds * 1000:7.1f} ms{made}"
        )

    def expect(self, what: str, expected: Any, seen: Any) -> bool:
        """A check: what was seen has to be what was expected."""
        good = bool(expected == seen)
        if good:
            self._print(f"    {self._styled(_GREEN, self._yes)} {what}: {seen}")
        else:
            self.fail(f"{what}: expected {expected}, seen {seen}")
        return good

    def check(self, what: str, *, holds: bool) -> None:
        """A check that is said in words."""
        self.expect(what, "yes", "yes" if holds else "no")

    def fail(self, what: str) -> None:
        """A check that did not hold."""
        self.failures.append(what)
        self._print(f"    {self._styled(_RED, self._no)} {what}")

    def note(self, text: str) -> None:
        """Something worth knowing."""
        self._print(f"    {self._dot} {text}")

    def line(self, text: str = "") -> None:
        """Anything else."""
        self._print(text)

    def _can(self, text: str) -> bool:
        try:
            text.encode(self._out.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return False
        return True

    def _styled(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text

    def _print(self, text: str) -> None:
        encoding = self._out.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding), file=self._out, flush=True)

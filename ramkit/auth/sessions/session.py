"""The session as a handler has it: a dict that knows what became of it."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, NoReturn, Self

from ramkit.auth.sessions.core.record import (
    EMPTY,
    Fields,
    decode_map,
    encode_fields,
    encode_map,
    fields_of,
)
from ramkit.auth.sessions.errors import SessionUnavailable
from ramkit.kernel.context import RequestContext

__all__ = ["Session"]


class Session(dict[str, Any]):
    """What ``request.session`` is: a dict of what msgspec can encode, with Starlette's manners.

    ``accessed``: something looked into it. ``modified``: it holds something else than was read; changes
    deep inside its values count. Every touch of one that could not be read raises ``SessionUnavailable``;
    one that nobody touches costs nothing.
    """

    __slots__ = ("_body", "_cleared", "_context", "_error", "_regenerate", "accessed", "handle")

    def __init__(
        self,
        body: bytes = EMPTY,
        *,
        handle: str | None = None,
        error: Exception | None = None,
        context: RequestContext | None = None,
    ) -> None:
        # Decoded at once: json.dumps and its like look into a dict past its methods.
        super().__init__(decode_map(body) if body is not EMPTY else ())
        self._body, self._error, self._context = body, error, context
        self._cleared = self._regenerate = False
        self.accessed = False
        #: what ``Sessions`` knows it by; no secret. None for one that is not stored yet.
        self.handle = handle

    def regenerate(self) -> None:
        """Give it a new id with this response; the old one is dead at once. What it holds stays.

        On login this happens by itself.
        """
        self.touch()
        self._regenerate = True

    @property
    def modified(self) -> bool:
        return (
            self.accessed
            and self._error is None
            and (self._cleared or self._regenerate or encode_map(self) != self._body)
        )

    # -- for the middleware --

    @property
    def base(self) -> Fields:
        """The encoded values that were read."""
        return fields_of(self._body)

    @property
    def cleared(self) -> bool:
        """Everything that it held was thrown away at some time."""
        return self._cleared

    @property
    def renewing(self) -> bool:
        """``regenerate`` was called."""
        return self._regenerate

    @property
    def failed(self) -> bool:
        """It could not be read."""
        return self._error is not None

    @property
    def fields(self) -> Fields:
        """The encoded values as they are now. Raises TypeError for what cannot be encoded."""
        try:
            return fields_of(encode_map(self))
        except ValueError:
            return encode_fields(dict(super().items()))  # says which key it is

    def rebase(self, handle: str | None) -> None:
        """It was stored as it is: from now on changes are what differs from this."""
        self._body, self.handle = encode_map(self), handle
        self._cleared = self._regenerate = False

    def touch(self) -> None:
        """Note that somebody looks at it."""
        if self.accessed and self._error is None:
            return
        self.accessed = True
        if self._context is not None:
            self._context.personal = True
        if self._error is not None:
            raise SessionUnavailable(str(self._error)) from self._error

    def mark_accessed(self) -> None:
        """What ``request.session`` calls: asking for it is a touch."""
        self.touch()

    # -- the dict: everything touches --

    def __getitem__(self, key: str) -> Any:
        self.touch()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.touch()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.touch()
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self.touch()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.touch()
        return super().__iter__()

    def __reversed__(self) -> Iterator[str]:
        self.touch()
        return super().__reversed__()

    def __len__(self) -> int:
        self.touch()
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self.touch()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        self.touch()
        return super().__ne__(other)

    __hash__ = None

    def __or__(self, other: Any) -> Any:
        return dict(self.items()) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self.items())

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # as Starlette's
        self.update(other)
        return self

    def __repr__(self) -> str:
        return f"<Session {self.handle or 'not stored'}>"  # what it holds is not for logs

    def get(self, key: str, default: Any = None) -> Any:
        self.touch()
        return super().get(key, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]  # the view is dict's own
        self.touch()
        return super().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]  # as keys
        self.touch()
        return super().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]  # as keys
        self.touch()
        return super().items()

    def pop(self, key: str, *default: Any) -> Any:
        self.touch()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self.touch()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.touch()
        return super().setdefault(key, default)

    def update(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **values: Any) -> None:  # type: ignore[override]  # one signature for dict's three
        self.touch()
        super().update(*args, **values)

    def copy(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self.items())

    def clear(self) -> None:
        """Log out: the stored session ends with the response, whatever other requests store meanwhile.

        What is set afterwards begins another one.
        """
        self.touch()
        super().clear()
        self._cleared = True

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session belongs to its request")

"""Who asks, by the name that whoever authenticated them has for them."""

from ramkit.kernel.asgi import Scope
from ramkit.kernel.context import RequestContext

__all__ = ["principal_name"]


def principal_name(scope: Scope) -> tuple[str, str] | None:
    """The attribute that names the principal, and the name; None for nobody.

    The principal is that of the request's context, else ``scope["user"]``: a string (then the attribute is
    empty), or an object with ``identity``, ``subject`` or ``display_name``. Raises ``TypeError`` for one
    without.
    """
    context = RequestContext.peek(scope)
    principal = context.principal if context is not None else None
    if principal is None:
        principal = scope.get("user")
    if principal is None or isinstance(principal, str):
        return ("", principal) if principal else None
    if not getattr(principal, "is_authenticated", True):
        return None
    for attribute in ("identity", "subject", "display_name"):
        try:
            found = getattr(principal, attribute, None)
        except NotImplementedError:  # Starlette's BaseUser.identity, which SimpleUser leaves as it is
            continue
        if found:
            return attribute, str(found)
    raise TypeError(f"{type(principal).__name__} has no identity, subject or display_name")

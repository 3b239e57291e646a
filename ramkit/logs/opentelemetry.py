"""OpenTelemetry's active span, through its API alone."""

from opentelemetry.trace import get_current_span

__all__ = ["active_span"]


def active_span() -> tuple[str, str] | None:
    """The trace id and the span id, in hex, if a span is active."""
    context = get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None

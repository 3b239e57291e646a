"""What ends the demo early."""

__all__ = ["DemoError"]


class DemoError(Exception):
    """Told to the user without a traceback; ``status`` is the process's exit status."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

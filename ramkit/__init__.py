"""ramkit scales out any ASGI app, one part at a time."""

__version__ = "0.1.0"

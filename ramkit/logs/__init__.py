"""What happened, one line of JSON at a time: the access log, and ids that tie an app's own records to it.

app.add_middleware(AccessLogMiddleware, sink="file:///var/log/app/access.log")
logging.getLogger().addHandler(SinkHandler(Sink("stdout")))
"""

from ramkit.logs.core.redaction import SECRETS
from ramkit.logs.correlation import JSONFormatter, RequestIdFilter, SinkHandler, add_request_id
from ramkit.logs.events import LogLinesDropped, LogWriteFailed
from ramkit.logs.middleware import AccessLogMiddleware
from ramkit.logs.port import Outlet
from ramkit.logs.sink import Sink

__all__ = [
    "SECRETS",
    "AccessLogMiddleware",
    "JSONFormatter",
    "LogLinesDropped",
    "LogWriteFailed",
    "Outlet",
    "RequestIdFilter",
    "Sink",
    "SinkHandler",
    "add_request_id",
]

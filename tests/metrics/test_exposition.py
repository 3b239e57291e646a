"""What Prometheus gets."""

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text

from ramkit.kernel.errors import ConfigurationError
from ramkit.metrics import metrics_app
from ramkit.testing.client import drive, http_scope
from ramkit.testing.lint import ASGILint


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    return registry


async def ask(app, method="GET", **headers):
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    linted = ASGILint(app)
    start, *bodies = await drive(linted, http_scope(method, "/metrics", headers=pairs))
    linted.check()
    return start["status"], dict(start["headers"]), b"".join(each["body"] for each in bodies).decode()


async def test_format_is_negotiated(registry):
    app = metrics_app(registry=registry)
    status, headers, body = await ask(app)
    assert (status, headers[b"content-type"][:10]) == (200, b"text/plain")
    assert next(iter(text(body))).name == "things"
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3"
    _, headers, body = await ask(app, accept=accept)
    assert headers[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    assert [each.name for each in open_metrics(body)] == ["things"]
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", "1.", '"', "1.0.0\xe9", "9" * 5000, "1.0.0, text/plain;version=x"])
@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
async def test_versions_that_are_none(registry, kind, version):
    status, headers, body = await ask(metrics_app(registry=registry), accept=f"{kind};version={version}")
    assert status == 200
    assert headers[b"content-type"].isascii()
    assert "things_total 3.0" in body


async def test_a_token_of_its_own(registry):
    app = metrics_app(registry=registry, token="s3cret")
    assert (await ask(app, authorization="Bearer s3cret"))[0] == 200
    for wrong in ("Bearer s3cre", "Basic s3cret", "s3cret", "Bearer", ""):
        status, headers, body = await ask(app, authorization=wrong)
        assert (status, headers[b"www-authenticate"]) == (401, b'Bearer realm="metrics"')
        assert "things" not in body
    assert (await ask(app))[0] == 401


async def test_a_port_of_its_own(registry):
    assert (await ask(metrics_app(registry=registry, port=80)))[0] == 200
    assert (await ask(metrics_app(registry=registry, port=9100)))[0] == 404


async def test_methods(registry):
    app = metrics_app(registry=registry)
    status, headers, _ = await ask(app, "POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    status, headers, body = await ask(app, "HEAD")
    assert (status, body) == (200, "")
    assert int(headers[b"content-length"]) > 0


async def test_websockets_are_refused(registry):
    scope = http_scope(type="websocket", scheme="ws", subprotocols=[])
    [message] = await drive(metrics_app(registry=registry), scope)
    assert message["type"] == "websocket.close"


@pytest.mark.parametrize("token", ["", " ", " a", "a b", "a\nb", "gehört"])
def test_a_token_that_no_header_carries(token):
    with pytest.raises(ConfigurationError, match="token"):
        metrics_app(token=token)

"""A Prometheus that scrapes the demo: the dashboard of its rooms is full."""

import json
import signal
from pathlib import Path

import pytest

from ramkit.cache import events as cache_events
from ramkit.db import events as db_events
from ramkit.health import events as health_events
from ramkit.metrics import catalogue
from ramkit.metrics.dashboard import dashboard
from ramkit.metrics.rules import rules
from ramkit.redis import events as redis_events
from ramkit.testing.servers.processes import free_port
from tests.demo.test_command import read_until, running, the_rest
from tests.metrics.prometheus import scraping

MODULES = (cache_events, db_events, health_events, redis_events)
EVENTS = [getattr(module, name) for module in MODULES for name in module.__all__]


@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_the_dashboards_queries_return_data(tmp_path: Path) -> None:
    metrics = catalogue(EVENTS)
    asked = {
        target["expr"].replace("$__rate_interval", "1m")
        for panel in json.loads(dashboard(metrics))["panels"]
        for target in panel["targets"]
    }
    (tmp_path / "rules.yml").write_text(rules(metrics))
    (demo := tmp_path / "demo").mkdir()
    port = free_port("127.0.0.1")
    async with (
        scraping(f"127.0.0.1:{port}", "none", tmp_path / "rules.yml", tmp_path) as prometheus,
        running(demo, "--port", str(port)) as process,
    ):
        printed = await read_until(process, "Serving http")
        missing = {query for query in asked if not await prometheus.query(query)}
        process.send_signal(signal.SIGINT)
        _, status = await the_rest(process)
    assert status == 0, printed
    assert missing == set()

"""A Prometheus that scrapes the demo: the dashboard of its rooms is full."""

import json
import signal
from pathlib import Path

import pytest

from ramkit.cli import main
from ramkit.testing.servers.processes import free_port
from tests.demo.test_command import read_until, running, the_rest
from tests.metrics.prometheus import scraping

#: of which the tour shows everything that they tell
ROOMS = ("cache", "db", "health", "redis")


@pytest.mark.usefixtures("redis_server", "postgres_server")
async def test_the_dashboards_queries_return_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["metrics", "dashboard", *ROOMS])
    asked = {
        target["expr"].replace("$__rate_interval", "1m")
        for panel in json.loads(capsys.readouterr().out)["panels"]
        for target in panel["targets"]
    }
    main(["metrics", "rules", *ROOMS])
    (tmp_path / "rules.yml").write_text(capsys.readouterr().out)
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

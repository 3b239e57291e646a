"""What is generated from the catalogue: current in docs/, and good for Prometheus."""

import json
import re
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from ramkit.cache.events import CacheLookup
from ramkit.cli import main
from ramkit.metrics import MetricsMiddleware, MetricsObserver, catalogue
from ramkit.metrics.rules import ALERTS, RECORDS, rules
from ramkit.redis.events import RedisRoundTrip
from ramkit.testing.client import drive, http_scope
from tests.metrics.prometheus import promtool

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def printed(what: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["metrics", what]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "file"), [("rules", "metrics-rules.yml"), ("dashboard", "metrics-dashboard.json")]
)
def test_files_are_current(what: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(what, capsys) == (DOCS / file).read_text(), f"ramkit metrics {what} > docs/{file}"


def test_what_is_of_the_rooms_that_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    main(["metrics", "table", "cache", "redis"])
    table = capsys.readouterr().out
    assert "`cache_lookups_total`" in table
    assert "`redis_batch_size`" in table
    assert "`db_" not in table
    with pytest.raises(SystemExit, match="2"):
        main(["metrics", "table", "router"])


def test_table_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed("table", capsys) in (DOCS / "metrics.md").read_text()


def test_every_event_of_every_room_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    """By the text of the sources: a room that is new does not go unseen."""
    sources = [path.read_text() for path in (ROOT / "ramkit").rglob("events.py")]
    wanted = {name for text in sources for name in re.findall(r'metric: ClassVar\[str\] = "(\w+)"', text)}
    assert wanted
    described = set(re.findall(r"^\| `(\w+)`", printed("table", capsys), re.MULTILINE))
    assert wanted <= described


def test_rules_are_for_metrics_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    described = set(re.findall(r"^\| `(\w+)`", printed("table", capsys), re.MULTILINE))
    assert {each.metric for each in (*RECORDS, *ALERTS)} <= described
    few = rules(catalogue([]))
    assert "HttpErrors" in few
    assert "redis" not in few.lower()


def test_panels_do_not_overlap(capsys: pytest.CaptureFixture[str]) -> None:
    panels = json.loads(printed("dashboard", capsys))["panels"]
    assert len({(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels}) == len(panels)
    assert len({each["id"] for each in panels}) == len(panels)


async def test_promtool_has_nothing_against_the_exposition() -> None:
    async def app(scope, receive, send):
        scope["ramkit.route"] = "/it"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    registry = CollectorRegistry()
    counted = MetricsMiddleware(app, registry=registry)
    await drive(counted, http_scope("POST"), [{"type": "http.request", "body": b"x"}])
    tell = MetricsObserver(registry=registry)
    tell(CacheLookup("default", "hit"))
    tell(RedisRoundTrip(0.001))
    said = promtool("check", "metrics", given=generate_latest(registry))
    assert said == ""


def test_promtool_tests_the_rules(tmp_path: Path) -> None:
    shutil.copy(DOCS / "metrics-rules.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("rules.test.yml"), tmp_path)
    promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "metrics-rules.yml")
    said = promtool("test", "rules", tmp_path / "rules.test.yml")
    assert "SUCCESS" in said

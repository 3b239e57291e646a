import pytest

from ramkit.demo.service import RULES, WorkerName
from ramkit.testing.apps import GALLERY, Awkward, play
from ramkit.testing.lint import ASGILint


@pytest.mark.parametrize("awkward", GALLERY, ids=str)
async def test_awkward_apps_pass_through(awkward: Awkward) -> None:
    inner = ASGILint(awkward.app)
    outer = ASGILint(WorkerName(inner))
    played = await play(outer, awkward)
    inner.check()
    outer.check()
    assert played.status == awkward.status


@pytest.mark.parametrize(
    ("path", "ttl"),
    [
        ("/countries", 3600),
        ("/countries/DE", 300),
        ("/cities", 300),
        ("/cities/2950159", 300),
        ("/search", 60),
        ("/me", 60),
        ("/largest", 300),
        ("/", None),
        ("/ticks", None),
        ("/renders", None),
    ],
)
def test_rules(path: str, ttl: float | None) -> None:
    assert next((rule.ttl for rule in RULES if rule.matches(path)), None) == ttl

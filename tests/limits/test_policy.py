import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.limits import Policy


@pytest.mark.parametrize(
    ("rate", "interval", "quota"),
    [
        ("100/s", 10_000, 100),
        ("10/minute", 6_000_000, 10),
        ("1000/h", 3_600_000, 1000),
        ("1/day", 86_400_000_000, 1),
        ("100/10s", 100_000, 100),
        ("100 in 10 s", 100_000, 100),
        ("more than 100 in 10 s", 100_000, 100),
        ("5 per minute", 12_000_000, 5),
        ("3/s", 333_334, 3),  # never more than three
        ("1000000/s", 1, 1_000_000),
    ],
)
def test_rates(rate, interval, quota):
    policy = Policy("p", rate)
    assert (policy.interval, policy.quota, policy.limit) == (interval, quota, interval * quota)


def test_burst_is_what_comes_at_once():
    policy = Policy("p", "100/s", burst=200)
    assert (policy.quota, policy.limit) == (200, 2_000_000)


@pytest.mark.parametrize(
    ("line", "interval", "quota"),
    [
        ("rate=100r/s burst=200 nodelay", 10_000, 201),
        ("rate=30r/m burst=5 nodelay", 2_000_000, 6),
        ("rate=1r/s", 1_000_000, 1),
    ],
)
def test_as_nginx_has_it(line, interval, quota):
    policy = Policy.nginx("p", line, dry_run=True)
    assert (policy.interval, policy.quota, policy.dry_run) == (interval, quota, True)


@pytest.mark.parametrize(
    "line", ["rate=100r/s burst=200", "rate=100r/s delay=8", "100/s", "zone=one burst=5"]
)
def test_what_nginx_would_delay_or_not_know(line):
    with pytest.raises(ConfigurationError, match="rate"):
        Policy.nginx("p", line)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("name", {"name": ""}),
        ("name", {"name": 'a"b'}),
        ("name", {"name": "a:b"}),
        ("rate", {"rate": "100"}),
        ("rate", {"rate": "0/s"}),
        ("rate", {"rate": "100/fortnight"}),
        ("rate", {"rate": "1000001/s"}),
        ("rate", {"rate": "1/0s"}),
        ("rate", {"rate": None}),
        ("burst", {"burst": 0}),
        ("burst", {"burst": 1.5}),
        ("burst", {"rate": "1/d", "burst": 10_000}),
        ("cost", {"cost": -1}),
        ("cost", {"cost": True}),
        ("key", {"key": "address"}),
        ("on", {"on": "frame"}),
        ("on_failure", {"on_failure": "ajar"}),
        ("exempt", {"exempt": "/health"}),
        ("exempt", {"exempt": ["health"]}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        Policy(**{"name": "p", "rate": "1/s", **options})
    assert caught.value.argument == argument


def test_exempt_paths():
    policy = Policy("p", "1/s", exempt=["/health", "/static/*"])
    paths = ["/health", "/static/a/b", "/healthy", "//health", "/Health", "/static", "/x/static/"]
    assert [policy.is_exempt({"path": path}) for path in paths] == [True, True, *[False] * 5]

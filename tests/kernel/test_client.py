import string
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramkit.kernel.client import TrustedProxies
from ramkit.kernel.context import RequestContext
from ramkit.kernel.errors import ConfigurationError

NETWORKS = ["10.0.0.0/8", "fd00::/8", "127.0.0.1"]


def scope_of(peer: Any, name: str = "", *lines: str) -> dict[str, Any]:
    headers = [(b"host", b"h"), *((name.encode(), line.encode("latin-1")) for line in lines)]
    return {"type": "http", "client": peer, "headers": headers}


def xff(*lines: str, peer: str = "10.0.0.1", networks: Any = NETWORKS) -> str | None:
    found = TrustedProxies(networks).client_address(scope_of((peer, 1), "x-forwarded-for", *lines))
    return None if found is None else str(found)


def forwarded(*lines: str, peer: str = "10.0.0.1") -> str | None:
    policy = TrustedProxies(NETWORKS, header="forwarded")
    found = policy.client_address(scope_of((peer, 1), "forwarded", *lines))
    return None if found is None else str(found)


# -- the peer ----------------------------------------------------------------------------------------


def test_by_default_nobody_is_trusted() -> None:
    for header in ("x-forwarded-for", "forwarded"):
        scope = scope_of(("127.0.0.1", 1), header, "6.6.6.6" if header[0] == "x" else "for=6.6.6.6")
        assert TrustedProxies().client_address(scope) == ip_address("127.0.0.1")


def test_a_peer_that_is_not_trusted_is_the_client_whatever_it_writes() -> None:
    assert xff("6.6.6.6", peer="192.0.2.1") == "192.0.2.1"
    assert forwarded("for=6.6.6.6", peer="192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("testclient", None),
        ("", None),
    ],
)
def test_how_a_peer_is_read(peer: str, address: str | None) -> None:
    assert xff("6.6.6.6", peer=peer) == address


def test_a_mapped_peer_is_trusted_as_the_ipv4_address_that_it_is() -> None:
    assert xff("192.0.2.1", peer="::ffff:10.0.0.1") == "192.0.2.1"


@pytest.mark.parametrize("peer", [None, ("", 0)])
def test_a_unix_socket_is_trusted_when_it_is_named(peer: Any) -> None:
    scope = scope_of(peer, "x-forwarded-for", "192.0.2.1")
    assert TrustedProxies(NETWORKS).client_address(dict(scope)) is None
    assert TrustedProxies(["unix"]).client_address(dict(scope)) == ip_address("192.0.2.1")
    assert (
        TrustedProxies(["unix"]).client_address(scope_of(("testclient", 1), "x-forwarded-for", "1.1.1.1"))
        is None
    )


def test_it_is_resolved_once_for_each_policy() -> None:
    scope = scope_of(("10.0.0.1", 1), "x-forwarded-for", "192.0.2.1")
    policy = TrustedProxies(NETWORKS)
    first = policy.client_address(scope)
    assert RequestContext.of(scope).client is first
    scope["headers"].clear()
    assert policy.client_address({**scope}) is first
    assert TrustedProxies().client_address(scope) == ip_address("10.0.0.1")


# -- X-Forwarded-For ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6", "192.0.2.1"], "192.0.2.1"),
        (["6.6.6.6, 192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.3,10.0.0.2 ,, "], "192.0.2.1"),
        (["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["6.6.6.6, fd00::1"], "6.6.6.6"),
        (["fe80::1%eth0"], "fe80::1"),
        (["6.6.6.6, ::ffff:192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
        (["6.6.6.6, garbage"], None),
        (["6.6.6.6, unknown, 10.0.0.2"], None),
        (["6.6.6.6, 192.0.2.1:99999999"], None),
        (["6.6.6.6, 192.0.2.01"], None),
        (["6.6.6.6, 192.0.2.1/32"], None),
        (["6.6.6.6, [192.0.2.1]"], None),
        (["6.6.6.6, 3232235777"], None),
        (["6.6.6.6, \u00b9.1.1.1"], None),
        (["6.6.6.6, [2001:db8::1"], None),
        (["6.6.6.6, fe80::1%"], None),
        (["6.6.6.6, " + "1" * 5000], None),
    ],
)
def test_x_forwarded_for(lines: list[str], address: str | None) -> None:
    assert xff(*lines) == address


def test_the_other_header_is_not_looked_at() -> None:
    assert TrustedProxies(NETWORKS).client_address(
        scope_of(("10.0.0.1", 1), "forwarded", "for=6.6.6.6")
    ) == ip_address("10.0.0.1")


def test_more_proxies_than_anybody_has_are_not_believed() -> None:
    assert xff("192.0.2.1" + ", 10.0.0.2" * 31) == "192.0.2.1"
    assert xff("192.0.2.1" + ", 10.0.0.2" * 32) is None
    assert xff("10.0.0.2" + ", 10.0.0.2" * 10_000) is None


# -- Forwarded (RFC 7239) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["for=192.0.2.1"], "192.0.2.1"),
        (['For="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
        (["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
        (["proto=http; FOR=192.0.2.60 ;by=203.0.113.43;"], "192.0.2.60"),
        (["for=6.6.6.6, for=198.51.100.17"], "198.51.100.17"),
        (["for=6.6.6.6", "for=198.51.100.17,for=10.0.0.2"], "198.51.100.17"),
        (['for="192.0.2.1:80"'], "192.0.2.1"),
        (['for="192.0.2.1:_port"'], "192.0.2.1"),
        (['for="\\1\\92.0.2.1"'], "192.0.2.1"),
        (['for=192.0.2.1;host="a, for=6.6.6.6"'], "192.0.2.1"),
        (['for=192.0.2.1;host="a\\", for=6.6.6.6;x=\\""'], "192.0.2.1"),
        (['for=192.0.2.1;host="\\\\"'], "192.0.2.1"),
        (['for=6.6.6.6;host="a", for=192.0.2.1;host="b\\\\"'], "192.0.2.1"),
        (['for="[::ffff:192.0.2.1]"'], "192.0.2.1"),
        ([", ,for=192.0.2.1, ,"], "192.0.2.1"),
        ([], "10.0.0.1"),
        # the end of the walk
        (["for=6.6.6.6, for=unknown"], None),
        (["for=6.6.6.6, for=_gazonk, for=10.0.0.2"], None),
        (["for=6.6.6.6, proto=https"], None),
        (["for=6.6.6.6, for=192.0.2.1:80"], None),  # needs quotes
        (['for=6.6.6.6, for="2001:db8::1"'], None),  # needs brackets
        (["for=6.6.6.6, for=[2001:db8::1]"], None),  # needs quotes
        (["for=6.6.6.6, for=192.0.2.1;for=192.0.2.2"], None),
        (["for=6.6.6.6, for = 192.0.2.1"], None),
        (["for=6.6.6.6, for="], None),
        (['for=6.6.6.6, for="192.0.2.1'], None),
        (['for=6.6.6.6, for="192.0.2.1"x'], None),
        (["for=6.6.6.6, for=192.0.2.1;;=;"], None),
        (["for=6.6.6.6, 192.0.2.1"], None),
    ],
)
def test_forwarded(lines: list[str], address: str | None) -> None:
    assert forwarded(*lines) == address


# -- who attacks -------------------------------------------------------------------------------------

#: weighted to what means something in either grammar
ATTACK = st.lists(
    st.one_of(
        st.sampled_from(
            ["for=", '"', "\\", ",", ";", "=", "6.6.6.6", "10.0.0.2", "[", "]", "unknown", " ", ":1"]
        ),
        st.text(string.printable, max_size=5),
    ),
    max_size=12,
).map("".join)


@given(st.lists(ATTACK, max_size=3), ATTACK)
def test_no_prefix_changes_what_x_forwarded_for_says(lines: list[str], prefix: str) -> None:
    assert xff(*lines, f"{prefix}, 192.0.2.1, 10.0.0.2") == "192.0.2.1"
    assert xff(*lines, prefix, "[2001:db8::1]:80", "10.0.0.2") == "2001:db8::1"


@given(st.lists(ATTACK, max_size=3), ATTACK, ATTACK)
def test_no_prefix_and_no_host_changes_what_forwarded_says(lines: list[str], prefix: str, host: str) -> None:
    quoted = "".join(f"\\{each}" if each in '"\\' else each for each in host if each in " \t" or each > " ")
    honest = f'for="[2001:db8::1]:80";host="{quoted}"'
    assert forwarded(*lines, f"{prefix}, {honest}, for=10.0.0.2") == "2001:db8::1"
    assert forwarded(*lines, prefix, honest, f'host="{quoted}";for=10.0.0.2') == "2001:db8::1"


@given(st.lists(ATTACK, max_size=4), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_proxies_write_is_an_address_or_none(lines: list[str], header: Any) -> None:
    found = TrustedProxies(NETWORKS, header=header).client_address(scope_of(("10.0.0.1", 1), header, *lines))
    assert found is None or isinstance(found, IPv4Address | IPv6Address)


@pytest.mark.parametrize("piece", ['"', '\\"', "\\", "[", ",", " ", "for=10.0.0.2,", '";', "a=b;", ':"'])
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_a_long_header_costs_its_length(piece: str, header: Any) -> None:
    # At the square of its length this would not end within the time that any test has.
    scope = scope_of(("10.0.0.1", 1), header, "x" + piece * (1_000_000 // len(piece)))
    assert TrustedProxies(NETWORKS, header=header).client_address(scope) is None


# -- mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "networks",
    [
        "10.0.0.0/8",
        ["10.0.0.1/8"],
        ["nonsense"],
        ["0.0.0.0/0"],
        ["::/0"],
        ["::ffff:10.0.0.0/104"],
        [167772161],
    ],
)
def test_a_mistake_in_networks_is_named(networks: Any) -> None:
    with pytest.raises(ConfigurationError, match="networks"):
        TrustedProxies(networks)


def test_a_mistake_in_header_is_named() -> None:
    with pytest.raises(ConfigurationError, match="header"):
        TrustedProxies(header="x-real-ip")  # type: ignore[arg-type]  # the mistake under test

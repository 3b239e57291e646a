import pytest

from ramkit.db.core.dsn import servers_in, shown


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("postgresql://ada:pw@a/shop", ["postgresql://ada:pw@a/shop"]),
        ("postgres://a:1,b:2/shop", ["postgres://a:1/shop", "postgres://b:2/shop"]),
        ("postgresql://u@[::1]:1,[::2]/shop", ["postgresql://u@[::1]:1/shop", "postgresql://u@[::2]/shop"]),
        ("postgresql:///shop?host=a,b&port=1,2", ["postgresql://a:1/shop", "postgresql://b:2/shop"]),
        ("postgresql:///shop?host=a,b&port=1", ["postgresql://a:1/shop", "postgresql://b:1/shop"]),
        (
            "postgresql://a,b/shop?sslmode=require&target_session_attrs=read-write",
            ["postgresql://a/shop?sslmode=require", "postgresql://b/shop?sslmode=require"],
        ),
        (
            "host=a,b port=1,2 user=ada dbname=shop",
            ["postgresql://ada@a:1/shop", "postgresql://ada@b:2/shop"],
        ),
        (r"host = a password = 'it\'s @ home' dbname='s h'", ["postgresql://:it%27s%20%40%20home@a/s%20h"]),
        ("SHOP", ["postgresql://a/shop"]),
    ],
)
def test_one_url_for_each_server(text, servers):
    assert servers_in(text, {"SHOP": "postgresql://a/shop"}) == servers


@pytest.mark.parametrize(
    "text", ["host=/run/postgresql dbname=shop", "postgresql://%2Frun%2Fpostgresql/shop"]
)
def test_a_folder_with_a_socket_is_a_host(text):
    (server,) = servers_in(text, {})
    assert server == "postgresql:///shop?host=%2Frun%2Fpostgresql"
    assert shown(server) == "/run/postgresql"


@pytest.mark.parametrize("text", ["mysql://ada:secret@a/b", "secret", "host=a secret", "MISSING", ""])
def test_what_is_none_is_refused_without_being_told(text):
    with pytest.raises(ValueError, match="it is no postgresql|no environment variable") as caught:
        servers_in(text, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("postgresql://ada:secret@a:1/shop", "a:1"),
        ("postgresql:///shop?host=/run/pg&password=secret", "/run/pg"),
        ("postgresql:///shop", "local"),
    ],
)
def test_logs_see_host_and_port_alone(dsn, name):
    assert shown(dsn) == name

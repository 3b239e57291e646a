import time

import pytest
import redis
import redis.asyncio

from ramkit.testing.servers import RedisCluster, RedisServer, ServerUnavailable
from ramkit.testing.servers import redis as module
from ramkit.testing.servers.processes import free_port


@pytest.fixture(scope="module")
def server():
    """One of our own, to be treated badly."""
    began = time.perf_counter()
    with RedisServer.launch() as launched:
        print(f"Redis started in {1000 * (time.perf_counter() - began):.0f} ms")
        launched.clean()
        yield launched


@pytest.fixture
def clean(server):
    server.clean()
    return server


async def test_the_url_is_that_of_an_empty_database(redis_url):
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0
        await client.set("key", "value")
        assert await client.get("key") == b"value"


async def test_what_the_test_before_wrote_is_gone(redis_url):
    async with redis.asyncio.from_url(redis_url) as client:
        assert await client.dbsize() == 0


def test_a_paused_server_does_not_answer_until_it_is_resumed(clean):
    with redis.Redis(port=clean.port, host=module.loopback(), socket_timeout=0.05, retry=None) as client:
        client.ping()
        clean.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        clean.resume()
        assert clean.execute("PING")


def test_a_stopped_server_refuses_and_comes_back_empty_on_its_port(clean):
    clean.execute("SET", "key", "value")
    url, pid = clean.url, clean.pid
    clean.stop()
    with pytest.raises(redis.ConnectionError):
        clean.execute("PING")
    clean.start()
    assert (clean.url, clean.execute("GET", "key")) == (url, None)
    assert clean.pid != pid


@pytest.mark.parametrize("ill", ["pause", "stop"])
def test_cleaning_revives(clean, ill):
    clean.execute("SET", "key", "value")
    getattr(clean, ill)()
    clean.clean()
    assert clean.execute("DBSIZE") == 0


def test_cleaning_restores_settings_and_forgets_scripts(clean):
    sha = clean.execute("SCRIPT LOAD", "return 1")
    before = clean.execute("CONFIG GET", "maxmemory*")
    clean.execute("CONFIG SET", "maxmemory", "10mb", "maxmemory-policy", "allkeys-lru")
    clean.clean()
    assert clean.execute("CONFIG GET", "maxmemory*") == before
    with pytest.raises(redis.exceptions.NoScriptError):
        clean.execute("EVALSHA", sha, 0)


def test_options_are_words_of_the_command_line():
    with RedisServer.launch("--maxmemory", "10mb") as server:
        assert server.execute("CONFIG GET", "maxmemory") == {"maxmemory": str(10 * 1024 * 1024)}


def test_a_port_that_is_taken_meanwhile_is_not_used(clean, monkeypatch):
    ports = iter([clean.port, free_port(module.loopback())])
    monkeypatch.setattr("ramkit.testing.servers.processes.free_port", lambda host: next(ports))
    with RedisServer.launch() as other:
        assert other.port != clean.port
        assert other.pid != clean.pid
    assert next(ports, None) is None


def test_on_a_machine_with_only_ipv6(monkeypatch, ipv6):
    monkeypatch.setattr(module, "loopback", lambda: ipv6)
    with RedisServer.launch() as server:
        assert server.url == f"redis://[::1]:{server.port}/0"
        assert server.execute("PING")


async def test_the_cluster_serves_all_slots(redis_cluster):
    assert redis_cluster.url.startswith("redis+cluster://")
    assert redis_cluster.url.count(",") == 2
    node = redis_cluster.nodes[0]
    async with redis.asyncio.RedisCluster(host=module.loopback(), port=node.port) as client:
        for number in range(30):
            await client.set(f"key{number}", number)
        assert [await client.get(f"key{number}") for number in range(30)] == [b"%d" % n for n in range(30)]
        assert all(each.execute("DBSIZE") for each in redis_cluster.nodes)


def test_the_cluster_is_empty_again(redis_cluster):
    assert [each.execute("DBSIZE") for each in redis_cluster.nodes] == [0, 0, 0]


def test_a_key_is_found_on_its_node(redis_cluster):
    for key in ("a", "b", "c", "d"):
        redis_cluster.node_of(key).execute("SET", key, 1)
        assert redis_cluster.node_of(key).execute("GET", key) == b"1"


def test_a_node_that_was_stopped_is_back_with_its_slots():
    began = time.perf_counter()
    with RedisCluster.launch() as cluster:
        print(f"the cluster started in {time.perf_counter() - began:.1f} s")
        cluster.nodes[0].stop()
        cluster.nodes[1].pause()
        cluster.clean()
        cluster.node_of("b").execute("SET", "b", 1)
        assert cluster.node_of("b").execute("GET", "b") == b"1"


def test_somebody_elses_server_is_used_and_not_controlled(clean, monkeypatch):
    monkeypatch.setenv("RAMKIT_TEST_REDIS_URL", f"redis://{clean.url.partition('//')[2].partition('/')[0]}/3")
    server = module.foreign_redis(2)
    assert server is not None
    assert server.url.endswith("/5")
    server.execute("SET", "key", "value")
    clean.execute("SET", "ours", "value")
    server.clean()
    assert server.execute("DBSIZE") == 0
    assert clean.execute("DBSIZE") == 1
    for what in (server.pause, server.resume, server.stop, server.start, lambda: server.pid):
        with pytest.raises(ServerUnavailable, match="RAMKIT_TEST_REDIS_URL"):
            what()


def test_the_number_of_a_database_has_to_be_one(monkeypatch):
    monkeypatch.setenv("RAMKIT_TEST_REDIS_URL", "redis://localhost/x")
    with pytest.raises(ServerUnavailable, match="'x' is no number"):
        module.foreign_redis(0)

import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.redis import Redis, RedisRefused, RedisUnavailable, refuse_eviction
from ramkit.testing.servers import RedisCluster, RedisServer
from tests.redis.helpers import Closing


async def test_a_server_that_evicts(redis_url: str, redis_server: RedisServer, closing: Closing) -> None:
    redis = closing(Redis(redis_url, deadline=5.0))
    await refuse_eviction(redis, "the keys")
    redis_server.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(
        ConfigurationError, match=r"^store: .*evicts \(allkeys-lru\).*the keys.*or say may=True"
    ):
        await refuse_eviction(redis, "the keys", argument="store", unless="may")


async def test_each_node_of_a_cluster_is_asked(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=5.0))
    await refuse_eviction(redis, "the keys")
    for node in redis_cluster.nodes:
        node.execute("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        try:
            with pytest.raises(ConfigurationError, match="volatile-ttl"):
                await refuse_eviction(redis, "the keys")
        finally:
            node.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
    await refuse_eviction(redis, "the keys")
    assert await redis.get(b"k") is None


async def test_a_node_that_hangs_is_not_taken_for_good(redis_cluster: RedisCluster, closing: Closing) -> None:
    redis = closing(Redis(redis_cluster.url, deadline=0.3))
    await redis.execute("PING")
    redis_cluster.nodes[-1].pause()
    try:
        with pytest.raises(RedisUnavailable):
            await refuse_eviction(redis, "the keys")
    finally:
        redis_cluster.nodes[-1].resume()


async def test_a_server_that_does_not_tell(
    redis_url: str, redis_server: RedisServer, closing: Closing
) -> None:
    redis_server.execute("ACL", "SETUSER", "shy", "on", "nopass", "~*", "+@all", "-info")
    try:
        redis = closing(Redis(redis_url.replace("redis://", "redis://shy:x@"), deadline=5.0))
        with pytest.raises(RedisRefused):
            await redis.execute("INFO")
        await refuse_eviction(redis, "the keys")
    finally:
        redis_server.execute("ACL", "DELUSER", "shy")

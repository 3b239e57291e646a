"""The apps that uvicorn serves for ``benchmarks.wire``; BENCH_REDIS_URL names the server."""

import os

from benchmarks.driver import bare
from benchmarks.peers.ramkit import behind
from ramkit.cache import RedisStore

_url = os.environ["BENCH_REDIS_URL"]

plain = bare
memory, _ = behind("memory://")
tiered, _ = behind(_url)
redis, _ = behind(RedisStore(_url))

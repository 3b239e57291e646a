"""One process of a stampede: ``python -m tests.cache.stampede URL FOLDER``. All its requests miss at once."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

from ramkit.cache import Cache, CacheMiddleware, RedisStore, Rule, TieredStore
from tests.cache.wire import ask

REQUESTS = 64


async def main(url, folder):
    async def render(scope, receive, send):
        with (folder / "renders").open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not (folder / "go").exists():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"done"})

    # A deadline that a busy machine does not miss: nothing here is about Redis being slow.
    cache = Cache(TieredStore(RedisStore(url, deadline=5.0)))
    app = CacheMiddleware(render, cache=cache, rules=[Rule("/*", ttl=60)], max_wait=30)
    await cache.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    requests = [asyncio.create_task(ask(app, "/page")) for _ in range(REQUESTS)]
    await asyncio.sleep(0)
    print("asked", flush=True)
    answers = await asyncio.gather(*requests)
    seen = Counter((answer.status, answer.body, answer.x_cache) for answer in answers)
    print(sorted(seen.items()), flush=True)
    await cache.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

"""One process of the read-your-writes test: an app over a primary and a replica, asked over standard input.

Each line is a request as JSON; each answer is one line.
"""

import asyncio
import json
import sys

from ramkit.cache import Cache, CacheMiddleware, Rule
from ramkit.db import Database
from ramkit.db.middleware import ConsistencyMiddleware
from ramkit.testing.client import drive, http_scope


def create_app(primary, replica, redis, settings):
    db = Database(primary, [replica], max_lag=None, floor_wait=0.001, server_settings=settings)
    cache = Cache(redis, name="rounds")

    async def app(scope, receive, send):
        if scope["method"] == "PUT":
            async with db.write() as connection:
                await connection.execute(
                    "UPDATE notes SET text = $1 WHERE id = 1", scope["query_string"].decode()
                )
            body = b""
        else:
            body = (await db.fetchval("SELECT text FROM notes WHERE id = 1")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    cached = CacheMiddleware(app, cache=cache, rules=[Rule("/cached", ttl=3600)])
    return ConsistencyMiddleware(cached, db=db, cache=cache, secret="s" * 32), db, cache


async def main(arguments):
    app, db, cache = create_app(*arguments)
    await db.start()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print("ready", flush=True)
    while line := await reader.readline():
        method, path, query, floor = json.loads(line)
        headers = [(b"host", b"x"), *([(b"ramkit-floor", floor.encode())] if floor else [])]
        sent = await drive(app, http_scope(method, path, query=query.encode(), headers=headers))
        found = dict(sent[0]["headers"])
        body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        floor, hit = found.get(b"ramkit-floor", b"").decode(), found.get(b"x-cache", b"").decode()
        print(json.dumps([sent[0]["status"], body, floor, hit]), flush=True)
    await db.aclose()
    await cache.aclose()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

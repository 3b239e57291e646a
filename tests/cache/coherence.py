"""Processes that answer through the cache, and clients that count what was stale.

``python -m tests.cache.coherence URL TRUTH SOCKET`` is one process: an app behind CacheMiddleware, asked
by lines of JSON. The truth, which a database would hold, is in a file that all map: for each key its
version, and when it was written.
"""

import asyncio
import json
import mmap
import random
import struct
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ramkit.cache import Cache, CacheMiddleware, PurgeUnconfirmed, Rule
from ramkit.kernel.context import Floor
from ramkit.redis import RedisOutage
from tests.cache.wire import Answer, ask

KEYS = 12
RING, AGE = 64, struct.Struct("<Qd")
SIZE = 8 + RING * AGE.size
#: A process that has heard nothing for 2 s judges nothing; the rest is for a busy machine.
BOUND = 2.0 + 1.0


class Truth:
    def __init__(self, path):
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        # struct.pack_into stores zeros first, which another process may read.
        self.versions, self.times = memoryview(self.map).cast("Q"), memoryview(self.map).cast("d")

    @staticmethod
    def create(path):
        path.write_bytes(bytes(KEYS * SIZE))
        return Truth(path)

    def version(self, key):
        return self.versions[key * SIZE // 8]

    def write(self, key):
        version = self.version(key) + 1
        at = key * SIZE + 8 + (version % RING) * AGE.size
        self.versions[key * SIZE // 8] = version
        # The time first: who reads between the two takes no new version for an old one.
        self.times[at // 8 + 1] = time.monotonic()
        self.versions[at // 8] = version
        return version

    def old(self, key, now):
        """The newest version that was written longer ago than the bound."""
        ages = [AGE.unpack_from(self.map, key * SIZE + 8 + n * AGE.size) for n in range(RING)]
        return max((version for version, at in ages if version and at < now - BOUND), default=0)


class Process:
    """The application and its cache."""

    def __init__(self, url, truth):
        self.truth, self.outages = Truth(Path(truth)), 0
        self.cache = Cache(url, observers=[self.observe])
        rule = Rule("/*", ttl=60, stale_while_revalidate=5, stale_if_error=60)
        self.app = CacheMiddleware(self.handle, cache=self.cache, rules=[rule])

    def observe(self, event):
        self.outages += isinstance(event, RedisOutage)

    async def handle(self, scope, receive, send):
        """GET reads a key, and takes a while; PUT writes one and purges it."""
        key = int(scope["path"][1:])
        if scope["method"] == "GET":
            body = b"%d" % self.truth.version(key)
            for _ in range(random.randrange(4)):
                await asyncio.sleep(random.random() / 1000)
        else:
            body = b"%d" % self.truth.write(key)
            with suppress(PurgeUnconfirmed):
                await self.cache.purge_groups(f"k{key}")
        headers = [(b"content-length", b"%d" % len(body)), (b"cache-groups", b'"k%d"' % key)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def serve(self, reader, writer):
        while line := await reader.readline():
            method, path, epochs = json.loads(line)
            epoch = self.cache.log.epoch
            floor = Floor()
            floor.epochs |= {name: tuple(place) for name, place in epochs.items()}
            began = time.monotonic()
            answer = await ask(self.app, path, method, floor=Answer(0, [], b"", [], _Carried(floor)))
            said = {
                "status": answer.status,
                "version": int(answer.body),
                "epochs": answer.context.floor.epochs,
                "bypass": sorted(answer.context.floor.bypass),
                "cache": answer.x_cache,
                "epoch": epoch,
                "outages": self.outages,
                "seconds": time.monotonic() - began,
            }
            writer.write(json.dumps(said).encode() + b"\n")
        writer.close()


class _Carried:
    def __init__(self, floor):
        self.floor = floor


async def main(url, truth, socket):
    process = Process(url, truth)
    server = await asyncio.start_unix_server(process.serve, socket)
    await process.cache.start()
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


@asynccontextmanager
async def processes(url, folder, count=2):
    """That many processes; gives the truth and the paths of their sockets."""
    truth = Truth.create(folder / "truth")
    sockets = [str(folder / f"s{number}") for number in range(count)]
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __spec__.name, url, str(folder / "truth"), socket),
            stdout=asyncio.subprocess.PIPE,
        )
        for socket in sockets
    ]
    try:
        for process in running:
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        yield truth, sockets
    finally:
        for process in running:
            process.kill()
            await process.wait()


class Clients:
    """Each asks now this process, now that. ``floors``: whether what one process says of the client's floor
    is carried to the next."""

    def __init__(self, truth, sockets, *, floors, writes=0.1):
        self.truth, self.sockets, self.floors, self.writes = truth, sockets, floors, writes
        self.seen = Counter()
        self.outages = Counter()
        self.slow = []
        #: by key, the last version whose purge was confirmed, with its place in the log
        self.purged = dict.fromkeys(range(KEYS), (0, (0, 0)))
        self.stopped = False

    async def run(self, count):
        await asyncio.gather(*(self.client(number) for number in range(count)))

    async def client(self, number):
        pipes = [await asyncio.open_unix_connection(socket) for socket in self.sockets]
        mine = [key for key in range(KEYS) if key % 3 == number % 3]
        epochs, written = {}, Counter()
        while not self.stopped:
            at = random.randrange(len(pipes))
            if random.random() < self.writes:
                key = random.choice(mine)
                said = await self.ask(at, pipes[at], "PUT", key, epochs)
                if said["bypass"]:
                    # Its floor would send it past the cache for a while: here it becomes a new client.
                    self.seen["unconfirmed"] += 1
                    epochs, written = {}, Counter()
                    continue
                written[key] = said["version"]
                place = tuple(said["epochs"]["cache"])
                self.purged[key] = max(self.purged[key], (said["version"], place))
                if self.floors:
                    epochs = said["epochs"]
                await self.read(1 - at if len(pipes) == 2 else at, pipes, key, epochs, written)
            else:
                await self.read(at, pipes, random.randrange(KEYS), epochs, written)
        for _, writer in pipes:
            writer.close()

    async def read(self, at, pipes, key, epochs, written):
        (purged, place), old = self.purged[key], self.truth.old(key, time.monotonic())
        said = await self.ask(at, pipes[at], "GET", key, epochs)
        version = said["version"]
        self.seen["reads"] += 1
        self.seen[said["cache"]] += 1
        self.seen["errors"] += said["status"] != 200
        self.seen["stale for the writer"] += version < written[key]
        self.seen["stale though read"] += version < purged and said["epoch"] >= place[1]
        self.seen["stale past the bound"] += version < old

    async def ask(self, at, pipe, method, key, epochs):
        reader, writer = pipe
        writer.write(json.dumps([method, f"/{key}", epochs]).encode() + b"\n")
        said = json.loads(await reader.readline())
        self.outages[at] = said["outages"]
        self.seen["slow"] += said["seconds"] > 0.35
        return said


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

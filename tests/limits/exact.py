"""One process of several that share a policy: ``python -m tests.limits.exact URL SHIFT COUNT RATE BURST``.

Its clocks are ahead by SHIFT seconds. When it is told to go it asks COUNT times at once, and says how
many were admitted.
"""

import asyncio
import json
import sys
import time

from ramkit.limits import Policy, RateLimitMiddleware, RedisStore
from tests.limits.asking import Hello, status_of

__all__ = ["Shifted", "processes"]


class Shifted:
    def __init__(self, seconds):
        self.seconds = seconds

    def time(self):
        return time.time() + self.seconds

    def monotonic(self):
        return time.monotonic() + self.seconds


async def main(url, shift, count, rate, burst):
    store = RedisStore(url, deadline=60, clock=Shifted(float(shift)))
    policy = Policy("shared", rate, burst=int(burst), on_failure="closed")
    app = RateLimitMiddleware(Hello(), store=store, policies=[policy], clock=Shifted(float(shift)))
    await store.redis.get(b"none")  # connected
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    statuses = await asyncio.gather(*(status_of(app) for _ in range(int(count))))
    print(json.dumps({str(each): statuses.count(each) for each in set(statuses)}), flush=True)
    await store.aclose()


async def processes(url, shifts, *arguments):
    """One process a shift, all asking at once; what they saw, added up."""
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __spec__.name, url, str(shift), *map(str, arguments)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for shift in shifts
    ]
    try:
        async with asyncio.timeout(100):
            for each in running:
                assert await each.stdout.readline() == b"ready\n"
            for each in running:
                each.stdin.write(b"go\n")
            seen = {}
            for each in running:
                for status, count in json.loads(await each.stdout.readline()).items():
                    seen[int(status)] = seen.get(int(status), 0) + count
                await each.wait()
            return seen
    finally:
        for each in running:
            if each.returncode is None:
                each.kill()
                await each.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

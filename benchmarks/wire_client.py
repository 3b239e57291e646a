"""A load generator for machines without wrk: ``python -m benchmarks.wire_client PORT CONNECTIONS SECONDS``.

Keep-alive connections that send the next request when the last answer is complete; prints requests a
second. Python: it costs more for each request than wrk, so it flatters whatever is slow.
"""

import asyncio
import sys
import time
from functools import partial

from benchmarks.driver import PATHS, REQUEST_HEADERS

_HEAD = b"".join(name + b": " + value + b"\r\n" for name, value in REQUEST_HEADERS)
REQUESTS = [b"GET " + path + b" HTTP/1.1\r\n" + _HEAD + b"\r\n" for path in PATHS]


class Connection(asyncio.Protocol):
    """One connection; counts complete answers until ``until``."""

    def __init__(self, until: float, offset: int) -> None:
        self.until, self.number = until, offset
        self.count = 0
        self.missing = -1
        self.pending = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(REQUESTS[self.number % len(REQUESTS)])

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.pending += data
            head, found, rest = self.pending.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(RuntimeError(head.decode("latin-1")))
                self.transport.close()
                return
            length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
            self.missing, data = int(length), rest
            self.pending = b""
        self.missing -= len(data)
        if self.missing == 0:
            self._next()

    def _next(self) -> None:
        self.missing = -1
        self.count += 1
        self.number += 1
        if time.perf_counter() < self.until:
            self.transport.write(REQUESTS[self.number % len(REQUESTS)])
        else:
            self.transport.close()
            self.done.set_result(self.count)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("closed by the server"))


async def main(port: int, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    pairs = [
        await loop.create_connection(partial(Connection, began + seconds, n), "127.0.0.1", port)
        for n in range(connections)
    ]
    counts = await asyncio.gather(*(connection.done for _, connection in pairs))
    print(sum(counts) / (time.perf_counter() - began))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))

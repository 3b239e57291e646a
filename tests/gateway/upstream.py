"""A server that a gateway stands before, as a process of its own: ``upstream.py PORT``.

It appends a line to the file ``journal`` for each request that it received as a whole, and does with it what
the file ``mode`` says: ``ok``; ``slow``, no answer; ``busy``, 503; ``reset``, an RST after half of the body.
The path is ``/<length of the body>/<id>``; the body names the id, again and again.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

journal = os.open("journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b" ", 2)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    _, length, name = target.decode().split("/")
    os.write(journal, b"%s %s\n" % (method, name.encode()))
    mode = Path("mode").read_text()
    if mode == "slow":
        await reader.read()
        return False
    if mode == "busy":
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        return True
    body = (name + " ").encode() * (int(length) // (len(name) + 1))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    if mode == "reset":
        writer.write(body[: len(body) // 2])
        await writer.drain()
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return False
    writer.write(body)
    await writer.drain()
    return True


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await exchange(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    Path("ready").touch()
    await server.serve_forever()


asyncio.run(main())

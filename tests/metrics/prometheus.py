"""promtool and a Prometheus of the machine's own (Debian's package ``prometheus``)."""

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from ramkit.testing.servers.finding import ServerUnavailable

CONFIG = """
global: {{scrape_interval: 250ms, evaluation_interval: 250ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: ramkit
    scrape_timeout: 250ms
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: ["{target}"]}}]
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ServerUnavailable(f"no {name} on PATH (Debian: apt install prometheus)")
    return found


def promtool(*arguments: str | Path, given: bytes = b"") -> str:
    """Its output; an assertion fails with it when promtool finds fault."""
    done = subprocess.run([program("promtool"), *arguments], input=given, capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    async def query(self, expression: str) -> list[dict]:
        """What it is, and was in the last minute, as a dashboard shows it."""
        now = time.time()
        asked = {"query": expression, "start": now - 60, "end": now, "step": 0.5}
        async with httpx.AsyncClient() as client:
            reply = await client.get(f"{self.url}/api/v1/query_range", params=asked)
        said = reply.json()
        assert said["status"] == "success", said
        return said["data"]["result"]


@asynccontextmanager
async def scraping(target: str, token: str, rules: Path, folder: Path) -> AsyncGenerator[Prometheus]:
    """A Prometheus that scrapes ``target`` (HOST:PORT) and evaluates the rules."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(rules=json.dumps(str(rules)), token=token, target=target))
    promtool("check", "config", config)
    process = await asyncio.create_subprocess_exec(
        program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}", "--log.level=error",
    )  # fmt: skip
    try:
        async with httpx.AsyncClient() as client:
            while True:
                assert process.returncode is None, "prometheus ended"
                try:
                    if (await client.get(f"http://{address}/-/ready")).status_code == 200:
                        break
                except httpx.TransportError:
                    pass  # not listening yet
                await asyncio.sleep(0.1)
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()
        await process.wait()

"""One render for each miss, over processes."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

from tests.cache import stampede
from tests.cache.test_coherence import reached


@asynccontextmanager
async def stampedes(url, folder):
    """Two processes, each with 64 requests waiting for one page that is being rendered."""
    command = sys.executable, "-m", stampede.__name__, url, str(folder)
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    processes = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(2)]
    try:
        for process in processes:
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
        for process in processes:
            process.stdin.write(b"\n")
        for process in processes:
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"asked\n"
        await reached(lambda: renders(folder))
        yield processes
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def renders(folder):
    """The pids of those who rendered, in order."""
    path = folder / "renders"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def test_64_misses_in_each_of_two_processes_render_once(redis_url, tmp_path):
    async with stampedes(redis_url, tmp_path) as processes:
        (tmp_path / "go").touch()
        said = sorted([(await process.stdout.readline()).decode() for process in processes])
    assert said == [
        "[((200, b'done', 'HIT'), 63), ((200, b'done', 'MISS'), 1)]\n",
        "[((200, b'done', 'HIT'), 64)]\n",
    ]
    assert len(renders(tmp_path)) == 1


async def test_a_leader_that_is_killed_costs_one_more(redis_url, tmp_path):
    async with stampedes(redis_url, tmp_path) as processes:
        (leader,) = renders(tmp_path)
        (other,) = [process for process in processes if process.pid != leader]
        os.kill(leader, signal.SIGKILL)
        await reached(lambda: len(renders(tmp_path)) == 2)
        (tmp_path / "go").touch()
        said = (await other.stdout.readline()).decode()
    assert said == "[((200, b'done', 'HIT'), 63), ((200, b'done', 'MISS'), 1)]\n"
    assert renders(tmp_path) == [leader, other.pid]

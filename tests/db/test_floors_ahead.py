"""Floors that no server will reach: of another cluster, or of a log that lost its end."""

from ramkit.db.monitor import Monitor
from tests.db.conftest import eventually

AHEAD = 1 << 50


async def test_a_floor_of_another_cluster_costs_one_wait_and_is_read_on_the_primary(
    make, pair, postgres_replica, monkeypatch
):
    db = make(pair[0], [pair[1]], floor_wait=0.05)
    await eventually(lambda: db.fetchval("SELECT pg_is_in_recovery()"))
    waits, reached = [], Monitor.reached

    async def counted(monitor, lsn, timeout):
        waits.append(lsn)
        return await reached(monitor, lsn, timeout)

    monkeypatch.setattr(Monitor, "reached", counted)
    for floor in [AHEAD] * 20 + [AHEAD + 1] * 20:
        with db.floor(f"{floor >> 32:X}/{floor & 0xFFFFFFFF:X}"):
            assert await db.fetchval("SELECT pg_is_in_recovery()") is False
    assert waits == [AHEAD], "nobody goes on asking replicas for what the primary does not have"
    assert await db.fetchval("SELECT pg_is_in_recovery()"), "others are not concerned"
    postgres_replica.pause()
    with db.floor():
        await db.execute("UPDATE notes SET text = 'new' WHERE id = 1")
        assert await db.fetchval("SELECT text FROM notes WHERE id = 1") == "new"
    assert len(waits) == 2, "one that a replica may reach is still waited for"
    postgres_replica.resume()

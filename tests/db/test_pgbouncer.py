"""What is different behind pgbouncer in transaction mode."""

import pytest

from ramkit.db import Database, Failover, Server
from ramkit.testing.servers import PgBouncer
from tests.db.conftest import eventually

STANDBY = "SELECT pg_is_in_recovery()"


@pytest.fixture
async def behind(pair):
    """Makes databases whose servers are each behind a pgbouncer."""
    primary, replica = pair
    with PgBouncer.launch(primary) as one, PgBouncer.launch(replica) as other:
        made: list[Database] = []

        def make(**options):
            servers = [Server(one.dsn(primary), direct=primary), Server(other.dsn(replica), direct=replica)]
            made.append(Database(servers[0], servers[1:], min_size=1, max_lag=None, **options))
            return made[-1]

        yield make
        for each in made:
            await each.aclose()


async def test_transactions_go_through_it(behind, postgres_server):
    db = behind(max_size=10)
    with db.floor():
        for number in range(30):
            await db.execute("UPDATE notes SET text = $1 WHERE id = 1", str(number))
            assert await db.fetchval("SELECT text FROM notes WHERE id = $1", 1) == str(number)


async def test_a_promotion_is_followed(behind, postgres_server, postgres_replica):
    """pgbouncer goes on where its server is gone: the direct monitors tell who is primary now."""
    events = []
    db = behind(monitor_interval=0.05, connect_timeout=10, observers=[events.append])
    await db.execute("UPDATE notes SET text = 'before' WHERE id = 1")
    fleet = db._current()._fleet
    await eventually(lambda: fleet.replicas)
    before = fleet.primary
    postgres_replica.caught_up()
    postgres_server.stop()
    try:
        postgres_replica.promote()
        assert await db.execute("UPDATE notes SET text = 'after' WHERE id = 1") == "UPDATE 1"
        assert fleet.primary is not before
        assert [event.server for event in events if isinstance(event, Failover)] == [fleet.primary.name]
        assert await db.fetchval("SELECT text FROM notes WHERE id = 1") == "after"
    finally:
        postgres_server.start()


async def test_a_replica_that_is_taken_for_the_primary_says_otherwise(behind):
    """25006 alone, both servers well: the fleet is told of the wrong role, and the write goes elsewhere."""
    db = behind(monitor_interval=60, connect_timeout=10)
    await db.start()
    fleet = db._current()._fleet
    await eventually(lambda: fleet.replicas and fleet.primary)
    replica, primary = fleet.replicas[0], fleet.primary
    replica.timeline = primary.timeline
    fleet.told(primary, standby=True)
    fleet.told(replica, standby=False)
    assert fleet.primary is replica
    assert await db.execute("UPDATE notes SET text = 'new' WHERE id = 1") == "UPDATE 1"
    assert fleet.primary is primary


async def test_a_read_of_the_primary_is_not_held_to_be_one(make_alone):
    assert await make_alone.fetchval("UPDATE notes SET text = 'new' WHERE id = 1 RETURNING text") == "new"


@pytest.fixture
async def make_alone(table):
    with PgBouncer.launch(table) as bouncer:
        db = Database(Server(bouncer.dsn(table), direct=table))
        yield db
        await db.aclose()

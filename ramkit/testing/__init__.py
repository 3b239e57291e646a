"""Real servers, clients and clocks for tests, and the checks that every part of ramkit passes.

The pytest plugin is found by itself; see ``ramkit.testing.plugin`` for its fixtures. Without pytest:

    from ramkit.testing.servers import RedisServer

    with RedisServer.launch() as server:
        print(server.url)
"""

#: The names are in its modules, so that each brings only what it needs.
__all__: list[str] = []

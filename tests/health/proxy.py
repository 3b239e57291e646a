"""A proxy that follows /readyz: ``python proxy.py PORT SERVER…``. It tries nothing twice."""

import sys

import uvicorn

from ramkit.gateway import Gateway, HealthCheck, Route, Upstream

port, *servers = sys.argv[1:]
health = HealthCheck(path="/readyz", interval=0.1, unhealthy=1)
upstream = Upstream("app", servers, health=health, retries=0, ejection=None, breaker=None)
gateway = Gateway(upstreams=[upstream], routes=[Route("/*", "app")])
uvicorn.run(gateway, port=int(port), lifespan="on", log_level="warning")

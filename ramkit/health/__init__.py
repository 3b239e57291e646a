"""Am I well: liveness, readiness, and draining on SIGTERM.

checks = [check_redis(redis), check_postgres(pool), check_disk("/var/lib/app", free=0.1)]
app.add_middleware(HealthMiddleware, checks=checks, drain=10, detail_to=["127.0.0.1"])
"""

from ramkit.health.checks import check_disk, check_loop, check_postgres, check_redis, check_replicas
from ramkit.health.events import HealthChecked, HealthDraining
from ramkit.health.middleware import HealthMiddleware
from ramkit.health.policy import Check

__all__ = [
    "Check",
    "HealthChecked",
    "HealthDraining",
    "HealthMiddleware",
    "check_disk",
    "check_loop",
    "check_postgres",
    "check_redis",
    "check_replicas",
]

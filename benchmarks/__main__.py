"""``make bench``: runs everything, prints it, writes docs/benchmarks.md and README.md's tables."""

import argparse

from benchmarks import auth, cache, db, gaps, gateway, limits, logs, metrics, router, sessions

ROOMS = ["cache", "gateway", "auth", "sessions", "limits", "metrics", "logs", "db", "router", "gaps"]


def main() -> None:
    """The command line of ``python -m benchmarks``."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="room", help=f"only these of {', '.join(ROOMS)}")
    parser.add_argument("--redis", metavar="URL", help="a Redis to use whose database is empty")
    parser.add_argument("--quick", action="store_true", help="few short rounds, printed and not written")
    options = parser.parse_args()
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    rooms = options.rooms or ROOMS
    if "cache" in rooms:
        cache.main(options.redis, quick=options.quick)
    if "gateway" in rooms:
        gateway.run(quick=options.quick)
    if "auth" in rooms:
        auth.run(quick=options.quick)
    if "limits" in rooms:
        limits.main(options.redis, quick=options.quick)
    if "metrics" in rooms:
        metrics.main(options.redis, quick=options.quick)
    if "logs" in rooms:
        logs.run(quick=options.quick)
    if "sessions" in rooms:
        sessions.run(options.redis, quick=options.quick)
    if "db" in rooms:
        db.run(quick=options.quick)
    if "router" in rooms:
        router.run(quick=options.quick)
    if "gaps" in rooms:
        gaps.run(quick=options.quick)


if __name__ == "__main__":
    main()

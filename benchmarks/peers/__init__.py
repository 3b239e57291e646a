"""One module a package: ``subjects(redis_url)`` gives what a worker measures, by name.

They run in environments of their own, so each imports nothing but its package and ``benchmarks.driver``.
"""

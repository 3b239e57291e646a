"""Postgres: pages over a query."""

__all__: list[str] = []

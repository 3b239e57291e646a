import os

import hypothesis
import pytest

SOAK = bool(os.environ.get("RAMKIT_SOAK"))

# Timing never decides a test: no deadline. Each run draws the same examples.
hypothesis.settings.register_profile("ramkit", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5000, print_blob=True)
hypothesis.settings.load_profile("soak" if SOAK else "ramkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SOAK:
        for item in items:
            if item.get_closest_marker("soak"):
                item.add_marker(pytest.mark.skip(reason="long: make soak runs it"))

from collections.abc import AsyncIterator

import pytest

from tests.redis.helpers import Closing


@pytest.fixture
async def closing() -> AsyncIterator[Closing]:
    async with Closing() as stack:
        yield stack

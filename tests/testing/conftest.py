import socket
from contextlib import suppress

import pytest


@pytest.fixture
def ipv6() -> str:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return "::1"
    pytest.skip("this machine has no ::1")

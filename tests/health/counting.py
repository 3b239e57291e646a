import asyncio


class Counted:
    """A check that waits until it may go on, and counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()

    async def __call__(self):
        self.begun += 1
        await self.go.wait()

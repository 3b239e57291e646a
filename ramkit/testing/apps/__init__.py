"""Apps that are legal but awkward, for whatever stands between an app and its server.

    @pytest.mark.parametrize("awkward", GALLERY, ids=str)
    async def test_arrives(awkward):
        played = await play(MyMiddleware(awkward.app), awkward)
        assert played.status == awkward.status

Each `Awkward` has an app and what must arrive when `play`, a small server in memory, runs it. All of
them keep to the ASGI specification: `ramkit.testing.lint.ASGILint` has nothing to say.
"""

from ramkit.testing.apps._lifespan import LIFESPANS
from ramkit.testing.apps._play import ClientGone, Played, play
from ramkit.testing.apps._record import AppError, Awkward
from ramkit.testing.apps._responses import RESPONSES
from ramkit.testing.apps._streams import STREAMS
from ramkit.testing.apps._websocket import WEBSOCKETS

__all__ = ["GALLERY", "AppError", "Awkward", "ClientGone", "Played", "play"]

#: all of them, with names of their own
GALLERY: tuple[Awkward, ...] = (*RESPONSES, *STREAMS, *WEBSOCKETS, *LIFESPANS)

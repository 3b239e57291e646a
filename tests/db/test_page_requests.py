"""What a request says of pages, and what the response says of those beside."""

import pytest
from fastapi import FastAPI

from ramkit.db.dependencies import CursorRequested, PageRequested
from ramkit.db.pages import CursorPage, InvalidPage, Page, PageRequest, paginate
from ramkit.testing.client import ASGIClient


class Rows:
    """Numbers from 1 to 95."""

    async def fetch(self, query, *args):
        limit, offset = args[-2:]
        return list(range(1, 96))[offset : offset + limit]

    async def fetchval(self, query, *args):
        return min(95, args[-1])


@pytest.mark.parametrize(
    "bad", [["NaN"], ["-1"], ["0"], ["1e3"], ["9" * 5000], ["1", "2"], [""], ["\u0663"], ["101"]]
)
async def test_what_is_no_limit_is_refused_or_clamped(bad):
    with pytest.raises(InvalidPage, match="limit"):
        await paginate(Rows(), "x", limit=bad)
    page = await paginate(Rows(), "x", limit=bad, clamp=True)
    assert page.limit in (1, 10, 100)


async def test_totals_are_bounded():
    assert (await paginate(Rows(), "x")).total is None
    assert (await paginate(Rows(), "x", total=95)).total == 95
    assert (await paginate(Rows(), "x", total=94)).total is None


async def test_links_lead_to_the_pages_beside():
    page = await paginate(Rows(), "x", page=["2"], limit="10", total=1000)
    assert page.link(b"page=2&limit=10&q=a%26b%20c&cursor=z") == (
        '<?limit=10&q=a%26b%20c&page=1>; rel="first", <?limit=10&q=a%26b%20c&page=1>; rel="prev", '
        '<?limit=10&q=a%26b%20c&page=3>; rel="next", <?limit=10&q=a%26b%20c&page=10>; rel="last"'
    )
    assert Page([], 1, 10, more=False, total=0).link() == '<?page=1>; rel="first", <?page=1>; rel="last"'
    assert CursorPage([], None, "p").link(b"a=1") == '<?a=1>; rel="first", <?a=1&cursor=p>; rel="prev"'


async def test_dependencies_give_what_was_sent_and_are_in_the_schema():
    app = FastAPI()
    seen: list[PageRequest] = []

    @app.get("/pages")
    async def pages(asked: PageRequested):
        seen.append(asked)

    @app.get("/cursors")
    async def cursors(asked: CursorRequested):
        seen.append(asked)

    async with ASGIClient(app) as client:
        await client.get("/pages?page=1&page=2&limit=x")
        await client.get("/cursors?cursor=c")
    assert (seen[0].page, seen[0].limit) == (["1", "2"], ["x"])
    assert seen[1].cursor == ["c"]
    names = {
        path: {each["name"] for each in app.openapi()["paths"][path]["get"]["parameters"]}
        for path in ("/pages", "/cursors")
    }
    assert names == {"/pages": {"page", "limit"}, "/cursors": {"cursor", "limit"}}

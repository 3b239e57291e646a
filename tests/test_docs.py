"""The Python examples of README.md and docs/ run as they stand.

The blocks of one page share a namespace and may use top-level ``await``. ```` ```python {.no-run} ````
marks one that is only compiled. ``redis://localhost:6379/0`` and
``postgresql://localhost/shop`` become real servers' URLs.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: what stands in the examples, and the fixture with what it becomes
SERVERS = {"redis://localhost:6379/0": "redis_url", "postgresql://localhost/shop": "postgres_dsn"}
FENCE = re.compile(r"^```python([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    line: int
    info: str
    code: str

    @property
    def run(self) -> bool:
        return self.info != "{.no-run}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, match.start(2)) + 1, match[1].strip(), match[2])
        for match in FENCE.finditer(text)
    ]


WITH_CODE = [page for page in PAGES if blocks_of(page)]


@pytest.fixture
def blocks(page: Path, request: pytest.FixtureRequest) -> list[Block]:
    blocks = blocks_of(page)
    for written, fixture in SERVERS.items():
        if any(written in block.code and block.run for block in blocks):
            real = request.getfixturevalue(fixture)
            blocks = [block._replace(code=block.code.replace(written, real)) for block in blocks]
    return blocks


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
async def test_examples_run(page: Path, blocks: list[Block]) -> None:
    namespace: dict[str, Any] = {"__name__": page.stem}
    try:
        for block in blocks:
            # padded, so that a traceback shows the page's own line
            source = "\n" * (block.line - 1) + block.code
            code = compile(source, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if block.run:
                result = eval(code, namespace)
                if inspect.isawaitable(result):
                    await result
    finally:
        for value in list(namespace.values()):
            close = getattr(value, "aclose", None)
            if close is not None and not isinstance(value, type):
                await close()


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_fences_are_ones_that_the_site_renders(page: Path) -> None:
    assert {block.info for block in blocks_of(page)} <= {"", "{.no-run}"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", prose)]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []

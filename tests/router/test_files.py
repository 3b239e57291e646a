"""Files: what of a directory is served, and how."""

import os
import socket

import pytest

from ramkit.router import RamAPI
from ramkit.testing.client import ASGIClient, drive, http_scope
from ramkit.testing.lint import ASGILint

TEXT = b"0123456789"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(TEXT)
    (root / "sub" / "b.html").write_text("<p>")
    (root / ".hidden").write_text("h")
    (root / "empty").write_bytes(b"")
    (tmp_path / "secret").write_text("s")
    (tmp_path / "root-too").write_text("s")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "outdir").symlink_to(tmp_path)
    (root / "in").symlink_to(root / "a.txt")
    (root / "loop").symlink_to(root / "loop")
    (root / "broken").symlink_to(root / "nothing")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def app(folder):
    app = RamAPI(openapi=None)

    async def send(ctx):
        ctx.file(ctx.params["path"], root=folder)

    app.get("/*", send)
    app.post("/*", send)
    return app


async def status_of(app, path, raw=None):
    lint = ASGILint(app)
    sent = await drive(lint, http_scope("GET", path, raw_path=path.encode() if raw is None else raw))
    lint.check()
    return sent[0]["status"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret", "/sub/../../secret", "/..", "/../root-too", "/../root/../secret", "//etc/passwd",
        "/out", "/outdir/secret", "/loop", "/broken", "/fifo", "/", "/sub", "/sub/", "/a.txt/x", "/a.txt\0",
        "/\0", "/nothing", "/" + "x" * 5000, "/" + "x/" * 5000, "/\ufffd", "/..\\secret", "/~root", "/C:\\x",
    ],
)  # fmt: skip
async def test_what_is_not_served(app, path):
    assert await status_of(app, path) == 404


@pytest.mark.parametrize(
    "raw", [b"/%2e%2e/secret", b"/..%2Fsecret", b"/sub%2f..%2F..%2Fsecret", b"/%2Fetc%2Fpasswd"]
)
async def test_nor_by_other_spellings(app, raw):
    from urllib.parse import unquote

    assert await status_of(app, unquote(raw.decode()), raw) == 404


async def test_what_is_served(app):
    async with ASGIClient(ASGILint(app)) as http:
        for path in ("/a.txt", "/in", "/sub/../a.txt", "/sub%2F..%2Fa.txt"):
            sent = await drive(
                ASGILint(app), http_scope("GET", path.replace("%2F", "/"), raw_path=path.encode())
            )
            assert (sent[0]["status"], sent[1]["body"]) == (200, TEXT)
        got = await http.get("/sub/b.html")
        assert got.headers["content-type"] == "text/html; charset=utf-8"
        assert (await http.get("/empty")).content == b""
        assert (await http.post("/a.txt")).content == TEXT
        assert (await http.get("/.hidden")).text == "h"  # what lies in the root is meant to be served


async def test_head_says_what_get_would(app):
    async with ASGIClient(ASGILint(app)) as http:
        got, head = await http.get("/a.txt"), await http.head("/a.txt")
        assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(got.headers))
        assert (await http.head("/nothing")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=8-", 206, b"89"),
        ("bytes=0-999", 206, TEXT),
        ("bytes=10-", 416, b""),
        ("bytes=5-2", 400, None),
        ("lines=1-2", 400, None),
        ("bytes=" + "9" * 5000 + "-", 400, None),
        ("bytes=" + ",".join(["0-0"] * 1000), 200, TEXT),
        ("bytes=" + ",".join(["0-"] * 100), 206, TEXT),
    ],
)
async def test_ranges(app, asked, status, body):
    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/a.txt", headers={"range": asked})
    assert (got.status_code, body is None or got.content == body) == (status, True)
    if status == 416:
        assert got.headers["content-range"] == "bytes */10"


async def test_conditions(app):
    async with ASGIClient(ASGILint(app)) as http:
        fresh = (await http.get("/a.txt")).headers
        for name, value in (("if-none-match", fresh["etag"]), ("if-modified-since", fresh["last-modified"])):
            got = await http.get("/a.txt", headers={name: value})
            assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", fresh["etag"])
        stale = {"range": "bytes=0-1", "if-range": '"old"'}
        assert (await http.get("/a.txt", headers=stale)).status_code == 200
        assert (await http.get("/a.txt", headers={**stale, "if-range": fresh["etag"]})).content == b"01"
        assert (await http.get("/a.txt", headers={"if-none-match": '"old"'})).status_code == 200


async def test_headers_of_the_handler_count(folder):
    app = RamAPI()

    @app.get("/")
    async def download(ctx):
        ctx.header("content-type", "text/x-own").header("content-disposition", "attachment").file(
            "a.txt", root=folder
        )

    async with ASGIClient(ASGILint(app)) as http:
        got = await http.get("/")
    assert (got.headers.get_list("content-type"), got.headers["content-disposition"]) == (
        ["text/x-own"],
        "attachment",
    )


async def test_a_root_that_is_a_link_or_relative(folder, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    app = RamAPI(openapi=None)

    @app.get("/{root}/*")
    async def send(ctx):
        ctx.file(ctx.params["path"], root=ctx.params["root"])

    assert [await status_of(app, path) for path in ("/link/a.txt", "/root/a.txt", "/link/out", "/no/a")] == [
        200, 200, 404, 404
    ]  # fmt: skip


async def test_a_socket_is_no_file(folder, app, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert await status_of(app, "/socket") == 404

import io

from ramkit.demo.client import Reply
from ramkit.demo.report import Report


def printed(encoding: str) -> tuple[Report, io.BytesIO]:
    raw = io.BytesIO()
    return Report(io.TextIOWrapper(raw, encoding=encoding)), raw


def test_a_check_that_holds_is_no_failure() -> None:
    report, raw = printed("utf-8")
    assert report.expect("status", 200, 200)
    report.check("quick", holds=True)
    assert report.failures == []
    assert raw.getvalue().decode().splitlines() == ["    ✓ status: 200", "    ✓ quick: yes"]


def test_a_check_that_does_not_hold_says_what_was_expected_and_seen() -> None:
    report, raw = printed("utf-8")
    assert not report.expect("status", 200, 500)
    report.check("quick", holds=False)
    assert report.failures == ["status: expected 200, seen 500", "quick: expected yes, seen no"]
    assert raw.getvalue().decode().splitlines()[0] == "    ✗ status: expected 200, seen 500"


def test_a_terminal_that_knows_only_ascii_is_written_to_in_ascii() -> None:
    report, raw = printed("ascii")
    report.step("One", "shows")
    report.note("São Paulo")
    report.expect("city", "São Paulo", "Berlin")
    assert raw.getvalue().decode("ascii").splitlines() == [
        "",
        " 1  One",
        "    shows",
        "    - S?o Paulo",
        "    FAILED city: expected S?o Paulo, seen Berlin",
    ]


def test_what_is_no_terminal_gets_no_colours() -> None:
    report, raw = printed("utf-8")
    report.step("One", "shows")
    report.fail("all")
    assert b"\033" not in raw.getvalue()


def test_a_reply_is_one_line() -> None:
    report, raw = printed("utf-8")
    headers = {"x-worker": "12", "x-cache": "HIT", "x-render": "11-1"}
    report.reply(Reply("GET /", 200, headers, b"", 0.0125))
    assert raw.getvalue().decode().split() == [
        "GET", "/", "200", "worker", "12", "HIT", "12.5", "ms,", "render", "11-1",
    ]  # fmt: skip

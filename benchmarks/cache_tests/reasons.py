"""Why a test does not pass, by its id. A run that fails one which is not here says so."""

__all__ = ["REASONS"]

_HEURISTIC = "says nothing of its lifetime, and nothing is guessed unless `heuristic` says so"
_FAILURE = (
    "a failure with a lifetime: an accident of the app that every client would get for that long; "
    "`negative_ttl` keeps it, and bounds it"
)
_NEEDS_FAILURE = "keeps the rule; shown only by a cache that stores failures: see `status-5xx-fresh`"
_COOKIE = (
    "everybody would get one client's cookie (RFC 9111 §7.3); `set_cookie` is for cookies that are no secret"
)
_LANGUAGE = (
    "many apps take the first of the languages, and `Vary` may mean more than language; `accept_language`"
)
_PART = (
    "the test's part contradicts itself: five bytes are said to be `bytes 4-9/10`, which is six; such a part "
    "is not stored (RFC 9110 §14.4)"
)

_BY_REASON: dict[str, tuple[str, ...]] = {
    _HEURISTIC: tuple(
        f"heuristic-{status}-cached" for status in (200, 203, 204, 404, 405, 410, 414, 501, 599)
    ),
    _FAILURE: tuple(f"status-{status}-fresh" for status in (500, 502, 503, 504, 599)),
    _NEEDS_FAILURE: (
        *(f"status-{status}-stale" for status in (500, 502, 503, 504, 599)),
        "status-599-must-understand",
    ),
    _COOKIE: ("headers-store-Set-Cookie", "other-set-cookie"),
    _LANGUAGE: ("vary-normalise-lang-order", "vary-normalise-lang-select"),
    _PART: (
        "partial-store-partial-reuse-partial",
        "partial-store-partial-reuse-partial-absent",
        "partial-store-partial-reuse-partial-byterange",
        "partial-store-partial-reuse-partial-suffix",
    ),
    "wants a 304 for a response that is newer than the client's date; RFC 9110 §13.1.3 wants 200, and so do "
    "all whose results are published": ("conditional-lm-fresh-no-lm",),
}
REASONS = {name: reason for reason, names in _BY_REASON.items() for name in names}

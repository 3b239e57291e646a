"""What a shared cache may answer, from the text of RFC 9111: a judge that shares no code with ramkit.

It is told each answer of the origin (``saw``) and asked about each answer of the cache (``objection``).
It says what is allowed, never what has to be a hit. Where the RFC leaves a choice (MAY, SHOULD) both
sides of it are allowed, but for the rules of the house at the end: there ramkit promises more than the
RFC asks for, and is held to it. Times are in seconds; ``now`` and ``answered`` are real time, which no
step of a wall clock moves; ``received`` is what the cache's wall clock said.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

NEVER = -1.0
#: what floats lose
_EPSILON = 0.001


class Fields:
    """Header field lines; names in any case."""

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.lines = [(name.lower(), value) for name, value in lines]

    def all(self, name: str) -> list[str]:
        return [value.strip(" \t") for each, value in self.lines if each == name]

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)

    def members(self, name: str) -> list[str]:
        """The members of a list field, over all its lines (RFC 9110 §5.6.1)."""
        return [member.strip(" \t") for line in self.all(name) for member in line.split(",")]

    def __contains__(self, name: str) -> bool:
        return any(each == name for each, _ in self.lines)

    def __repr__(self) -> str:
        return repr(self.lines)


@dataclass(frozen=True)
class Request:
    method: str
    uri: str
    fields: Fields

    @property
    def control(self) -> dict[str, str | None]:
        return directives(self.fields)


@dataclass(frozen=True)
class Exchange:
    """One answer of the origin. ``representation``: all of the bytes that ``content`` is (a part) of."""

    serial: int
    request: Request
    asked: float
    answered: float
    received: float
    status: int
    fields: Fields
    content: bytes
    representation: bytes


@dataclass(frozen=True)
class Answer:
    """What the cache sent. ``serial``: of the exchange that its fields are from, where it shows one."""

    status: int
    fields: Fields
    content: bytes
    serial: int | None


@dataclass(frozen=True)
class Stored:
    """A response that the cache may have: status and content of one exchange, fields as updated by later
    ones (§3.2); ``last`` is the latest of them, ``before`` what it updated."""

    origin: Exchange
    last: Exchange
    fields: Fields
    before: "Stored | None" = None

    @property
    def control(self) -> dict[str, str | None]:
        return directives(self.fields)


@dataclass(frozen=True)
class Configured:
    """A lifetime for responses that say nothing, and windows beyond it: the heuristic of §4.2.2 and the
    out-of-band contract of §4.2.4."""

    ttl: float = NEVER
    stale_while_revalidate: float = 0
    stale_if_error: float = 0


# -- §5.2, §1.2.2: directives ------------------------------------------------------------------------

_DIRECTIVE = re.compile(r'\s*([^\s=",]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^",]*))?\s*(?:,|$)')


def directives(fields: Fields) -> dict[str, str | None]:
    """Cache-Control. Of a directive that stands twice the first counts (§4.2.1)."""
    found: dict[str, str | None] = {}
    for name, said in _DIRECTIVE.findall(",".join(fields.all("cache-control"))):
        value = re.sub(r"\\(.)", r"\1", said[1:-1]) if said.startswith('"') else said.strip()
        found.setdefault(name.lower(), value or None)
    return found


def delta(value: str | None) -> int:
    """delta-seconds (§1.2.2). What cannot be read has the response count as stale (§4.2.1)."""
    return min(int(value), 2**31) if value is not None and re.fullmatch("[0-9]+", value) else 0


# -- RFC 9110 §5.6.7: dates; §8.8.3: entity tags -----------------------------------------------------


def date(value: str | None) -> float | None:
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
        try:
            return datetime.strptime(value or "", form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None


def opaque(tag: str) -> str:
    """What weak comparison (§8.8.3.2) looks at."""
    return tag.removeprefix("W/")


def strong(one: str, other: str) -> bool:
    return one == other and not one.startswith("W/")


# -- §3: storing responses ---------------------------------------------------------------------------

#: RFC 9110 §15.1
HEURISTIC = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
_UNDERSTOOD = HEURISTIC | {302, 303, 307, 304}


def storable(stored: Stored) -> str | None:
    """Why a shared cache must not have stored it, or None."""
    status, control, request = stored.origin.status, stored.control, stored.origin.request
    if request.method not in ("GET", "POST"):
        return f"§3: {request.method} has no cacheable response with content"
    if status < 200:
        return "§3: not final"
    if "must-understand" in control and status not in _UNDERSTOOD:
        return "§5.2.2.3: must-understand, and the status is not"
    if "no-store" in control and "must-understand" not in control:
        return "§5.2.2.5: no-store"
    if "private" in control and control["private"] is None:
        return "§5.2.2.7: private"
    if is_of_authorized(stored):
        return "§3.5: Authorization"
    if control.keys() & {"public", "max-age", "s-maxage"} or "expires" in stored.fields:
        return None
    if status in HEURISTIC or "no-cache" in control:  # of no use without validation
        return None
    return "§3: neither a lifetime nor a status that is cacheable by itself"


def is_of_authorized(stored: Stored) -> bool:
    """§3.5. What a 304 to a request without Authorization selects is the response to that request, too
    (§4.3.3, §4.3.4), if it might be used for it before."""
    if shares_authorized(stored.control):
        return False
    if stored.before is None or "authorization" in stored.last.request.fields:
        return "authorization" in stored.last.request.fields
    return is_of_authorized(stored.before)


def shares_authorized(control: dict[str, str | None]) -> bool:
    """§3.5"""
    return bool(control.keys() & {"must-revalidate", "public", "s-maxage"})


# -- §4.1: Vary --------------------------------------------------------------------------------------

#: Fields whose members have no order but their weights, and no case (RFC 9110 §12.5.3, §12.5.4).
_UNORDERED = frozenset({"accept-encoding", "accept-language"})


def varies(stored: Stored, request: Request) -> str | None:
    for name in map(str.lower, stored.fields.members("vary")):
        if name == "*":
            return "§4.1: Vary: *"
        if selecting(stored.origin.request.fields, name) != selecting(request.fields, name):
            return f"§4.1: another {name}"
    return None


def selecting(fields: Fields, name: str) -> object:
    """A field as Vary compares it: lines combined, whitespace gone, order gone where it says nothing."""
    if name not in fields:
        return None
    if name not in _UNORDERED:
        return fields.members(name)
    found = set()
    for member in fields.members(name):
        value, _, weight = member.lower().replace(" ", "").partition(";q=")
        found.add((value, float(weight or 1)))
    return found


# -- §4.2: freshness ---------------------------------------------------------------------------------


def lifetime(stored: Stored) -> float | None:
    """freshness_lifetime (§4.2.1), None if nothing is said."""
    control = stored.control
    for name in ("s-maxage", "max-age"):
        if name in control:
            return delta(control[name])
    if "expires" not in stored.fields:
        return None
    expires = date(stored.fields.first("expires"))
    if expires is None:
        return 0  # §5.3
    dates = [date(each.first("date")) for each in (stored.last.fields, stored.fields)]
    # Of an update without Date nobody says whether that of before or the time of receipt counts.
    since = [each for each in dates if each is not None]
    if stored.last.fields.first("date") is None or not since:
        since.append(stored.last.received)
    return max(0, expires - min(since))


def ages(stored: Stored, now: float) -> list[float]:
    """current_age (§4.2.3): one, or two where an update came without Date."""
    last = stored.last
    resident = now - last.answered
    value = (last.fields.first("age") or "").split(",")[0].strip()  # §5.1: the first of a list
    corrected = (min(int(value), 2**31) if re.fullmatch("[0-9]+", value) else 0) + last.answered - last.asked
    found = []
    for fields in (last.fields, stored.fields):
        date_value = date(fields.first("date"))
        apparent = max(0, last.received - date_value) if date_value is not None else 0
        found.append(max(apparent, corrected) + resident)
    return found


def staleness(stored: Stored, configured: Configured, now: float) -> float:
    """By how much it is stale; negative while it is fresh. The most favourable reading."""
    said = lifetime(stored)
    if said is not None:
        return min(ages(stored, now)) - said
    if stored.origin.status not in HEURISTIC and "public" not in stored.control:  # §4.2.2
        return float("inf")
    return now - stored.last.answered - configured.ttl if configured.ttl != NEVER else float("inf")


# -- §4.2.4: stale responses -------------------------------------------------------------------------


def may_be_stale(
    stored: Stored, request: Request, configured: Configured, by: float, *, failing: bool
) -> bool:
    control, silent = stored.control, lifetime(stored) is None
    never = "no-cache" in control and control["no-cache"] is None  # with fields it is about these alone
    if never or control.keys() & {"must-revalidate", "proxy-revalidate"}:  # §5.2.2.2, .4, .8
        return False
    revalidate = configured.stale_while_revalidate if silent else delta(control.get("stale-while-revalidate"))
    # what the response says of errors comes before the contract, but the contract is for all responses
    named = "stale-if-error" in control or "s-maxage" in control
    error = delta(control.get("stale-if-error")) if named and not silent else configured.stale_if_error
    if by <= revalidate + _EPSILON or (failing and by <= error + _EPSILON):  # RFC 5861
        return True
    if "max-stale" not in request.control or "s-maxage" in control:  # §5.2.1.2, §5.2.2.10
        return False
    most = request.control["max-stale"]
    return by != float("inf") and (most is None or by <= delta(most) + _EPSILON)


# -- RFC 9110 §13, §14: preconditions and ranges of a stored response --------------------------------


def not_modified(stored: Stored, request: Request, own_tags: set[str]) -> bool:
    """Whether 304 is the answer (§4.3.2). ``own_tags``: those that the cache itself gave these bytes."""
    tags = {*stored.fields.all("etag")} or own_tags
    if "if-none-match" in request.fields:
        asked = request.fields.members("if-none-match")
        return asked == ["*"] or any(opaque(one) == opaque(other) for one in asked for other in tags)
    since = date(request.fields.first("if-modified-since"))
    if since is None:
        return False
    modified = date(stored.fields.first("last-modified") or stored.fields.first("date"))
    return (modified if modified is not None else stored.last.received) <= since


def failed_precondition(stored: Stored, request: Request) -> bool:
    """Whether 412 is: If-Match and If-Unmodified-Since (§13.1.1, §13.1.4)."""
    if "if-match" in request.fields:
        asked = request.fields.members("if-match")
        tags = stored.fields.all("etag")
        return asked != ["*"] and not any(strong(one, other) for one in asked for other in tags)
    since = date(request.fields.first("if-unmodified-since"))
    modified = date(stored.fields.first("last-modified"))
    return since is not None and modified is not None and modified > since


def asked_ranges(request: Request, length: int) -> list[tuple[int, int]]:
    """First and last byte of each range that can be satisfied (§14.1.2)."""
    found = []
    value = request.fields.first("range") or ""
    for first, last in re.findall(r"(\d*)-(\d*)", value.removeprefix("bytes=")):
        if first:
            found.append((int(first), min(int(last) if last else length, length - 1)))
        elif last:
            found.append((max(0, length - int(last)), length - 1))
    return [(first, last) for first, last in found if first <= last]


def if_range_holds(stored: Stored, request: Request) -> bool:
    """§13.1.5: strong comparison; a date has to be that of Last-Modified exactly."""
    asked = request.fields.first("if-range")
    if asked is None:
        return True
    tag = stored.fields.first("etag")
    if asked.startswith(('"', "W/")):
        return tag is not None and strong(asked, tag)
    return asked == stored.fields.first("last-modified")


def parts_of(answer: Answer) -> list[tuple[int, int, int, bytes]] | None:
    """First, last, complete length and bytes of each part of a 206 (§15.3.7); None if it is malformed."""
    boundary = re.search(
        r'multipart/byteranges;\s*boundary="?([^";]+)', answer.fields.first("content-type") or ""
    )
    pieces = [(answer.fields.first("content-range") or "", answer.content)]
    if boundary is not None and "content-range" not in answer.fields:
        pieces = []
        for piece in answer.content.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, content = piece.partition(b"\r\n\r\n")
            said = re.search(rb"(?i)content-range:\s*([^\r\n]+)", head)
            pieces.append(((said[1] if said else b"").decode(), content.removesuffix(b"\r\n")))
    found = []
    for said, content in pieces:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
        if match is None:
            return None
        found.append((int(match[1]), int(match[2]), int(match[3]), content))
    return found


# -- the judge ---------------------------------------------------------------------------------------

#: RFC 9110 §7.6.1, RFC 9111 §3.1: not stored
_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "proxy-authenticate", "proxy-authentication-info", "proxy-authorization"}  # fmt: skip
#: fields that a cache writes itself, or that change with the part or the status that it sends
_OWN = {"age", "date", "via", "warning", "x-cache", "cache-status", "content-length", "content-range",
        "accept-ranges"}  # fmt: skip
_FAILURES = frozenset({500, 502, 503, 504})
#: Seconds for which one failure stands for those that were not tried.
_PAUSE = 1.0


@dataclass
class Judge:
    """All that the cache can know, and what it may make of it."""

    configured: dict[str, Configured] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)
    #: the serial that a stored response must be later than, and when the origin failed last, by URI
    invalidated: dict[str, int] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    own_tags: dict[bytes, set[str]] = field(default_factory=dict)
    #: what was served from the cache, by its serial
    served: set[int] = field(default_factory=set)

    def saw(self, exchange: Exchange) -> None:
        """The origin has answered. A failure without an answer is status 500."""
        request, uri = exchange.request, exchange.request.uri
        if exchange.status in _FAILURES:
            self.failed[uri] = exchange.answered
        if request.method not in ("GET", "HEAD", "OPTIONS", "TRACE"):
            if 200 <= exchange.status < 400:  # §4.4
                self.invalidated[uri] = exchange.serial
        elif exchange.status == 304 or (request.method == "HEAD" and exchange.status == 200):
            self._update(exchange)
        else:
            self.stored.append(Stored(exchange, exchange, exchange.fields))

    def _update(self, exchange: Exchange) -> None:
        """§4.3.4 and §4.3.5: the stored responses that a 304 or the answer to a HEAD is about."""
        for each in list(self.stored):
            if each.origin.request.uri == exchange.request.uri and self._is_about(exchange, each):
                news = {name for name, _ in exchange.fields.lines} - {"content-length", "content-encoding"}
                kept = [line for line in each.fields.lines if line[0] not in news]
                lines = kept + [line for line in exchange.fields.lines if line[0] in news]
                self.stored.append(Stored(each.origin, exchange, Fields(lines), each))

    @staticmethod
    def _is_about(exchange: Exchange, stored: Stored) -> bool:
        asked, told, tag = exchange.request.fields, exchange.fields, stored.fields.first("etag")
        if varies(stored, exchange.request):
            return False
        for name in ("etag", "last-modified"):
            if name in told and name in stored.fields:
                return opaque(told.first(name) or "") == opaque(stored.fields.first(name) or "")
        if exchange.status != 304:
            # §4.3.5 looks at the validators that were received and at the length, if that was: where none
            # came nothing differs, and the stored response is updated, whatever the origin has by now
            length, whole = told.first("content-length"), stored.origin.representation
            if not {"etag", "last-modified"} & dict(told.lines).keys():
                return length is None or length == str(len(whole))
            return exchange.representation == whole
        if "if-none-match" in asked:
            return tag is not None and opaque(tag) in map(opaque, asked.members("if-none-match"))
        return asked.first("if-modified-since") == stored.fields.first("last-modified")

    def objection(self, request: Request, answer: Answer, now: float, during: list[Exchange]) -> str | None:
        """Why the cache may not answer so, or None. ``during``: what the origin said meanwhile."""
        if answer.serial is None and answer.status == 504:
            return None if "only-if-cached" in request.control else "§5.2.1.7: 504, and nobody asked for it"
        if (
            answer.status == 304
            and not {"if-none-match", "if-modified-since"} & dict(request.fields.lines).keys()
        ):
            return "§4.3.2: 304 without a condition"
        if any(_is_passed_on(exchange, answer, request) for exchange in during):
            for stored in self.stored:
                if stored.last in during:
                    self._note(stored, answer, during)
            return None
        why = ["no such answer of the origin"]
        for stored in reversed(self.stored):
            if answer.serial is not None and stored.last.serial != answer.serial:
                continue
            objection = self._may_use(stored, request, now, during) or self._shape(
                stored, request, answer, now, during
            )
            if objection is None:
                self._note(stored, answer, during)
                return None
            why.append(f"#{stored.origin.serial}/{stored.last.serial}: {objection}")
        return "; ".join(why[1:] or why)

    def _note(self, stored: Stored, answer: Answer, during: list[Exchange]) -> None:
        if answer.status == 200 and "etag" not in stored.fields and "etag" in answer.fields:
            self.own_tags.setdefault(stored.origin.representation, set()).update(answer.fields.all("etag"))
        if stored.last not in during:
            self.served.add(stored.last.serial)

    def _may_use(self, stored: Stored, request: Request, now: float, during: list[Exchange]) -> str | None:
        """§4: may this stored response be selected for this request?"""
        origin = stored.origin
        if origin.request.uri != request.uri:
            return "§4: another target URI"
        if origin in during:
            return None  # not reused: it was made for this request
        if request.method not in ("GET", "HEAD"):
            return f"§4: {request.method} is not answered from what was stored for GET"
        # What a 304 brought just now (§4.3) is for this request, and need not be stored.
        had = stored.before if stored.before is not None and stored.last in during else stored
        objection = storable(had) or varies(had, request) or house_rules(had, request, self._of(request))
        if objection is not None or stored.last in during:
            return objection
        if stored.last.serial < self.invalidated.get(request.uri, 0):
            return "§4.4: invalidated"
        if "no-cache" in stored.control and stored.control["no-cache"] is None:
            return "§5.2.2.4: no-cache, and not validated"
        by = staleness(stored, self._of(request), now)
        failing = now - self.failed.get(request.uri, NEVER - _PAUSE) <= _PAUSE + _EPSILON
        if by >= -_EPSILON and not may_be_stale(stored, request, self._of(request), by, failing=failing):
            return f"§4.2.4: stale by {by:g} s"
        if by < 0:
            return self._older(stored, request, now, during)
        return None

    def _older(self, stored: Stored, request: Request, now: float, during: list[Exchange]) -> str | None:
        """§4: of several that are suitable the most recent is used, if the cache has shown that it has it."""
        for other in self.stored:
            if (
                other.last.serial in self.served
                and other.last.serial > stored.last.serial
                and other.origin.request.uri == request.uri
                and (date(other.fields.first("date")) or 0) > (date(stored.fields.first("date")) or 0)
                and storable(other) is None
                and (other.fields.all("vary") or not self.varies_by(request.uri))
                and varies(other, request) is None
                and house_rules(other, request, self._of(request)) is None
                and "no-cache" not in other.control
                and staleness(other, self._of(request), now) < -_EPSILON
            ):
                return f"§4: #{other.last.serial} is more recent"
        return None

    def varies_by(self, uri: str) -> bool:
        """House: where some answers of a URI name Vary, one that names none is for requests like its own."""
        return any(each.fields.all("vary") for each in self.stored if each.origin.request.uri == uri)

    def _of(self, request: Request) -> Configured:
        found = [each for prefix, each in self.configured.items() if request.uri.startswith(prefix)]
        return found[0] if found else Configured()

    def _shape(
        self, stored: Stored, request: Request, answer: Answer, now: float, during: list[Exchange]
    ) -> str | None:
        """Status, content and fields of an answer that is made from this response."""
        objection = self._status(stored, request, answer)
        if objection is not None or answer.status in (412, 416) or stored.origin in during:
            return objection
        return _age(stored, answer, now, during) or _lines(stored, answer, validated=stored.last in during)

    def _status(self, stored: Stored, request: Request, answer: Answer) -> str | None:
        whole = stored.origin.representation
        if answer.status == 304:
            # RFC 9110 §13.2.2: preconditions come before Range, so a 206 would have been this 304, too
            right = stored.origin.status in (200, 206) and not answer.content
            tags = self.own_tags.get(whole, set())
            return (
                None
                if right and not_modified(stored, request, tags)
                else "§4.3.2: 304 contradicts the validators"
            )
        if answer.status == 412:
            return (
                None
                if failed_precondition(stored, request)
                else "RFC 9110 §13: 412 contradicts the validators"
            )
        ranges = asked_ranges(request, len(whole))
        if answer.status == 416:
            right = "range" in request.fields and not ranges
            return None if right else "RFC 9110 §15.5.17: 416, and there are such bytes"
        if answer.status == 206:
            return self._partial(stored, request, answer, ranges)
        full = 200 if stored.origin.status == 206 else stored.origin.status
        if answer.status != full:
            return f"{answer.status} was {stored.origin.status}"
        if request.method == "HEAD":
            return "content in the answer to HEAD" if answer.content else None
        if answer.content != whole:
            return "another content"
        return (
            None
            if self._transferred(stored, 0, len(whole) - 1)
            else "§3.4: bytes that were never transferred"
        )

    def _partial(
        self, stored: Stored, request: Request, answer: Answer, ranges: list[tuple[int, int]]
    ) -> str | None:
        whole, parts = stored.origin.representation, parts_of(answer)
        if stored.origin.status not in (200, 206) or request.method != "GET" or not ranges:
            return "RFC 9110 §14.2: 206, and no range was asked of a 200"
        if not if_range_holds(stored, request):
            return "RFC 9110 §13.1.5: 206, and If-Range does not hold"
        if parts is None:
            return "RFC 9110 §15.3.7: no Content-Range"
        for first, last, complete, content in parts:
            if complete != len(whole) or content != whole[first : last + 1]:
                return "RFC 9110 §14.4: other bytes than Content-Range says"
            if first < min(ranges)[0] or last > max(end for _, end in ranges):
                return "RFC 9110 §15.3.7: bytes that nobody asked for"
            if not self._transferred(stored, first, last):
                return "§3.4: bytes that were never transferred"
        return None

    def _transferred(self, stored: Stored, first: int, last: int) -> bool:
        """§3.3, §3.4: a 206 brings its part; parts are combined when they share a strong validator."""
        if stored.origin.status != 206:
            return True
        tag, missing = stored.fields.first("etag") or "W/", set(range(first, last + 1))
        for each in self.stored:
            if each is stored or strong(tag, each.origin.fields.first("etag") or ""):
                said = re.match(r"bytes (\d+)-", each.origin.fields.first("content-range") or "")
                start = int(said[1]) if said else 0
                missing -= set(range(start, start + len(each.origin.content)))
        return not missing


def _is_passed_on(exchange: Exchange, answer: Answer, request: Request) -> bool:
    """The origin's answer to this very request, as it was."""
    if exchange.serial != answer.serial or exchange.request.uri != request.uri:
        return False
    content = b"" if request.method == "HEAD" else exchange.content
    return answer.status == exchange.status and answer.content == content


def _age(stored: Stored, answer: Answer, now: float, during: list[Exchange]) -> str | None:
    """§5.1: Age is there, and is the current age."""
    said = answer.fields.all("age")
    if not said and stored.last in during:
        return None
    right = [
        each for each in ages(stored, now) if len(said) == 1 and abs(int(said[0]) - each) <= 1 + _EPSILON
    ]
    return None if right else f"§5.1: Age {said}, it is {ages(stored, now)}"


def _lines(stored: Stored, answer: Answer, *, validated: bool) -> str | None:
    """The fields are those that were stored, and none that is not to be (§3.1, §5.2.2.4, §5.2.2.7)."""
    control = stored.control
    gone = _HOP | {name.lower() for name in stored.fields.members("connection")}
    # §3.1: these may prevent the storing of fields, so that a 304, too, finds them gone
    prevented = {
        name.strip().lower()
        for each in ("private", "no-cache")
        for name in (control.get(each) or "").split(",")
    }
    if not validated:
        gone |= prevented
    written = set(_OWN)
    if "etag" not in stored.fields:
        written.add("etag")
    if "cache-control" not in stored.fields:
        written.add("cache-control")
    if answer.status == 206:
        written.add("content-type")
    for name in {name for name, _ in answer.fields.lines} - written:
        if name in gone:
            return f"§3.1: {name} is not stored"
        if answer.fields.all(name) != stored.fields.all(name):
            return f"§3: another {name}: {answer.fields.all(name)}"
    there = {name for name, _ in answer.fields.lines}
    missing = {name for name, _ in stored.fields.lines} - gone - prevented - written - there
    return f"§3.1: {missing} were lost" if missing and answer.status == 200 else None


# -- rules of the house: stricter than the RFC -------------------------------------------------------


def house_rules(stored: Stored, request: Request, configured: Configured) -> str | None:
    """What ramkit promises beyond the RFC (docs/cache.md, "What is stored")."""
    if "set-cookie" in stored.fields:
        return "house: Set-Cookie is never stored (§7.3)"
    if "no-store" in stored.origin.request.control:
        return "house: no-store of a request is followed (§5.2.1.5)"
    if "authorization" in request.fields and not shares_authorized(stored.control):
        return "house: Authorization is not answered with what others may not share"
    # no-cache has none: each use is validated (§5.2.2.4)
    ruled = lifetime(stored) is None and configured.ttl != NEVER and "no-cache" not in stored.control
    # a 304 (§4.3.4) says that the content is the same for whoever asked then
    if ruled and any("cookie" in fields for fields in (stored.last.request.fields, request.fields)):
        return "house: a rule's lifetime is not for requests with a Cookie"
    return None

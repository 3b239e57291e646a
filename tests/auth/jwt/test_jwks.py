import asyncio

import httpx
import pytest

from ramkit.auth.jwt import InvalidToken, JWKSClient, JWKSFetch, JWTService, Key, KeySet, KeysUnavailable
from ramkit.kernel.errors import ConfigurationError
from tests.auth.jwt.making import PRIVATE, hs256, private_pem

URL = "https://issuer.example/jwks.json"


class Issuer:
    """An issuer whose answers the test writes."""

    def __init__(self, *names: str) -> None:
        self.keys = {
            name: Key.from_pem(private_pem(PRIVATE["ES256"]), algorithm="ES256", kid=name) for name in names
        }
        self.document = {"keys": [key.public() for key in self.keys.values()]}
        self.headers: dict[str, str] = {}
        self.answer = None
        self.requests: list[httpx.Request] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await self.gate.wait()
        if self.answer is not None:
            return self.answer() if callable(self.answer) else self.answer
        etag = self.headers.get("etag")
        if etag is not None and request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers=self.headers)
        return httpx.Response(200, json=self.document, headers=self.headers)

    def keep(self, *names: str) -> None:
        self.document = {"keys": [self.keys[name].public() for name in names]}

    def sign(self, name: str, clock) -> str:
        return JWTService(keys=KeySet([self.keys[name]]), clock=clock, expires_in=10**6).sign({"sub": name})


@pytest.fixture
async def made(clock):
    closing = []

    def make(issuer, **options):
        http = httpx.AsyncClient(transport=httpx.MockTransport(issuer))
        client = JWKSClient(URL, client=http, clock=clock, **options)
        closing.extend([client.aclose, http.aclose])
        return JWTService(keys=client, clock=clock)

    yield make
    for close in closing:
        await close()


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_fetch_for_many_tokens(made, clock):
    issuer = Issuer("a", "b")
    service = made(issuer)
    with pytest.raises(KeysUnavailable):
        service.verify(issuer.sign("a", clock))
    tokens = [issuer.sign(name, clock) for name in "ab"] * 20
    claims = await asyncio.gather(*(service.authenticate(token) for token in tokens))
    assert {each["sub"] for each in claims} == {"a", "b"}
    assert len(issuer.requests) == 1
    assert service.verify(tokens[0])


async def test_max_age_and_etag(made, clock):
    issuer, seen = Issuer("a"), []
    issuer.headers = {"etag": '"1"', "cache-control": "public, max-age=120", "age": "20"}
    service = made(issuer, observers=[lambda event: seen.append(event.result)])
    token = issuer.sign("a", clock)
    await service.authenticate(token)
    clock.advance(99)
    await service.authenticate(token)
    await settle()
    assert len(issuer.requests) == 1
    clock.advance(1)
    await service.authenticate(token)  # answered at once; the fetch is in the background
    await settle()
    assert [request.headers.get("if-none-match") for request in issuer.requests] == [None, '"1"']
    assert seen == ["fetched", "unchanged"]
    clock.advance(50)
    await service.authenticate(token)
    await settle()
    assert len(issuer.requests) == 2
    assert JWKSFetch.labels == ("url", "result")


async def test_an_unknown_kid_is_looked_for_once_in_a_while(made, clock):
    issuer = Issuer("a", "b", "c")
    issuer.keep("a")
    service = made(issuer)
    await service.authenticate(issuer.sign("a", clock))
    issuer.keep("a", "b")
    stranger = issuer.sign("c", clock)
    for _ in range(50):
        with pytest.raises(InvalidToken, match="not known"):
            await service.authenticate(stranger)
    assert len(issuer.requests) == 1  # it was fetched less than 30 s ago
    clock.advance(30)
    tokens = [issuer.sign("b", clock), *[stranger] * 20]
    results = await asyncio.gather(*(service.authenticate(token) for token in tokens), return_exceptions=True)
    assert results[0]["sub"] == "b"
    assert all(isinstance(each, InvalidToken) for each in results[1:])
    assert len(issuer.requests) == 2


async def test_removed_keys_stop_working(made, clock):
    issuer = Issuer("a", "b")
    service = made(issuer)
    a, b = issuer.sign("a", clock), issuer.sign("b", clock)
    await service.authenticate(a)
    await service.authenticate(b)
    issuer.keep("b")
    clock.advance(600)
    await service.authenticate(a)
    await settle()
    with pytest.raises(InvalidToken, match="not known"):
        service.verify(a)  # remembered, and yet
    assert service.verify(b)
    issuer.document = {"keys": []}
    clock.advance(600)
    await service.authenticate(b)
    await settle()
    with pytest.raises(InvalidToken, match="not known"):
        service.verify(b)


async def test_the_last_keys_serve_through_an_outage_up_to_a_bound(made, clock):
    issuer = Issuer("a")
    service = made(issuer, max_age=600, outage=1000)
    token = issuer.sign("a", clock)
    await service.authenticate(token)
    issuer.answer = lambda: httpx.Response(503)
    clock.advance(600)
    for _ in range(5):
        await service.authenticate(token)
        await settle()
    assert len(issuer.requests) == 2  # tried again only after the cooldown
    clock.advance(999)
    assert await service.authenticate(token)
    await settle()
    clock.advance(31)
    for _ in range(3):
        with pytest.raises(KeysUnavailable) as caught:
            await service.authenticate(token)
        assert caught.value.status_code == 503
    with pytest.raises(KeysUnavailable):
        service.verify(token)
    issuer.answer = None
    clock.advance(30)
    assert await service.authenticate(token)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"location": "https://evil.example/"}),
        httpx.Response(304),
        httpx.Response(404),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": {}}),
        httpx.Response(200, json={"keys": [{"kty": "oct", "k": "A" * 43}, "x", {}]}),
        httpx.Response(200, content=b" " * 600_000),
        httpx.Response(200, stream=httpx.ByteStream(b"x"), headers={"content-encoding": "br"}),
    ],
    ids=[
        "redirect",
        "not modified",
        "not found",
        "html",
        "list",
        "object",
        "no usable key",
        "long",
        "compressed",
    ],
)
async def test_answers_that_are_none(answer, made, clock):
    issuer, seen = Issuer("a"), []
    service = made(issuer, observers=[lambda event: seen.append(event.result)])
    token = issuer.sign("a", clock)
    await service.authenticate(token)
    issuer.answer = answer
    clock.advance(600)
    await service.authenticate(token)
    await settle()
    assert seen == ["fetched", "failed"]
    assert len(issuer.requests) == 2
    assert service.verify(token)


async def test_a_malformed_key_takes_no_other_with_it(made, clock):
    issuer, seen = Issuer("a"), []
    issuer.document["keys"][:0] = [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short"}, {"kty": "EC"}, 7,
        {"kty": "oct", "k": "A" * 43},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43}, {"kty": "new"}, {"kty": "EC", "use": "enc"},
    ]  # fmt: skip
    service = made(issuer, observers=[seen.append])
    assert await service.authenticate(issuer.sign("a", clock))
    assert (seen[0].keys, seen[0].skipped) == (1, 7)


async def test_a_private_part_that_was_published_does_not_sign(made, clock):
    from jwt.algorithms import ECAlgorithm

    issuer = Issuer("a")
    private = ECAlgorithm.to_jwk(PRIVATE["ES256"], as_dict=True)
    issuer.document = {"keys": [{**private, "kid": "a", "alg": "ES256"}]}
    service = made(issuer)
    assert await service.authenticate(issuer.sign("a", clock))
    with pytest.raises(ConfigurationError, match="sign"):
        service.sign({})


async def test_a_shared_secret_that_was_published_verifies_nothing(made, clock):
    issuer = Issuer("a")
    issuer.document["keys"].append({"kty": "oct", "k": "A" * 43, "alg": "HS256", "kid": "s"})
    service = made(issuer)
    token = JWTService(secret=bytes(32), clock=clock).sign({})
    with pytest.raises(InvalidToken):
        await service.authenticate(token)
    with pytest.raises(InvalidToken):
        await service.authenticate(hs256(clock=clock).sign({}))


async def test_a_caller_that_leaves_takes_no_fetch_with_it(made, clock):
    issuer = Issuer("a")
    issuer.gate.clear()
    service = made(issuer)
    token = issuer.sign("a", clock)
    leaving, staying = (asyncio.ensure_future(service.authenticate(token)) for _ in range(2))
    await settle()
    leaving.cancel()
    await settle()
    issuer.gate.set()
    assert (await staying)["sub"] == "a"
    assert len(issuer.requests) == 1


async def test_an_issuer_that_hangs_costs_the_timeout(made, clock):
    issuer = Issuer("a")
    issuer.gate.clear()
    service = made(issuer, timeout=0.05)
    with pytest.raises(KeysUnavailable):
        await service.authenticate(issuer.sign("a", clock))
    with pytest.raises(KeysUnavailable):
        await service.authenticate(issuer.sign("a", clock))
    assert len(issuer.requests) == 1  # for a second nobody waits for it again


async def test_closing_ends_a_fetch(made, clock):
    issuer = Issuer("a")
    issuer.gate.clear()
    service = made(issuer)
    waiting = asyncio.ensure_future(service.authenticate(issuer.sign("a", clock)))
    await settle()
    await service.aclose()
    with pytest.raises(KeysUnavailable):  # it was not cancelled itself
        await waiting
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("url", {"url": "http://issuer.example/"}),
        ("url", {"url": "ftp://issuer.example/"}),
        ("url", {"url": "https://user@issuer.example/"}),
        ("url", {"url": "issuer.example"}),
        ("url", {"url": None}),
        ("timeout", {"url": URL, "timeout": 0}),
        ("max_bytes", {"url": URL, "max_bytes": 0}),
    ],
)
def test_mistakes_name_their_argument(argument, options):
    with pytest.raises(ConfigurationError) as caught:
        JWKSClient(**options)
    assert caught.value.argument == argument


def test_http_is_named_by_its_danger():
    assert JWKSClient("http://localhost:1/", plain_http_lets_others_forge_keys=True)


async def test_an_etag_that_cannot_be_sent_back_is_none(made, clock):
    issuer, seen = Issuer("a"), []
    service = made(issuer, observers=[lambda event: seen.append(event.result)])
    token = issuer.sign("a", clock)
    issuer.answer = lambda: httpx.Response(200, json=issuer.document, headers=[(b"etag", b'"\xe9"')])
    await service.authenticate(token)
    clock.advance(600)
    await service.authenticate(token)
    await settle()
    assert seen == ["fetched", "fetched"]


async def test_a_document_of_many_keys_is_none_and_blocks_nobody(made, clock):
    issuer, seen, turns = Issuer("a"), [], 0
    key = issuer.document["keys"][0]
    issuer.document["keys"] = [{**key, "kid": str(number)} for number in range(100)] + [key]
    service = made(issuer, observers=[lambda event: seen.append(event.result)])
    token = issuer.sign("a", clock)
    with pytest.raises(KeysUnavailable):
        await service.authenticate(token)
    issuer.document["keys"][:1] = []
    clock.advance(1)

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += len(service.keys) == 0 and len(issuer.requests) == 2

    turning = asyncio.ensure_future(turn())
    await service.authenticate(token)
    turning.cancel()
    assert (seen, len(service.keys)) == (["failed", "fetched"], 100)
    assert turns >= 10

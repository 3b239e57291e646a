"""Other ways to proxy in Python, as ASGI apps for uvicorn; GATEWAY_ORIGIN names the server behind.

``fastapi_proxy_lib`` is a peer. The others are the least that can be done with an HTTP client: no balancing,
no deadlines, no rules about fields but those without which it would not work. They are how the gateway's
own client was chosen.
"""

import os

ORIGIN = os.environ.get("GATEWAY_ORIGIN", "")
_DROPPED = (b"connection", b"keep-alive", b"transfer-encoding")


def _url(scope) -> str:
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return ORIGIN + (scope["raw_path"] + query).decode()


async def _respond(send, status, headers, chunks) -> None:
    fields = [(name.lower(), value) for name, value in headers if name.lower() not in _DROPPED]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _text(scope) -> list[tuple[str, str]]:
    return [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"] if n not in _DROPPED]


class Aiohttp:
    client = None

    async def __call__(self, scope, receive, send) -> None:
        import aiohttp
        from yarl import URL

        if self.client is None:
            self.client = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        url = URL(_url(scope), encoded=True)
        method = scope["method"]
        async with self.client.request(method, url, headers=_text(scope), allow_redirects=False) as response:
            await _respond(send, response.status, response.raw_headers, response.content.iter_any())


class Httpx:
    client = None

    async def __call__(self, scope, receive, send) -> None:
        import httpx

        if self.client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            self.client = httpx.AsyncClient(limits=limits, trust_env=False)
        request = self.client.build_request(scope["method"], _url(scope), headers=_text(scope))
        response = await self.client.send(request, stream=True)
        try:
            await _respond(send, response.status_code, response.headers.raw, response.aiter_raw())
        finally:
            await response.aclose()


class Pyreqwest:
    client = None

    async def __call__(self, scope, receive, send) -> None:
        if self.client is None:
            from pyreqwest.client import ClientBuilder

            self.client = ClientBuilder().no_proxy().build()
        request = self.client.request(scope["method"], _url(scope)).headers(_text(scope)).build_streamed()
        async with request as response:
            headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response.headers.items()]
            await _respond(send, response.status, headers, self._chunks(response))

    async def _chunks(self, response):
        while chunk := await response.body_reader.read_chunk():
            yield bytes(chunk)


def __getattr__(name: str):
    if name == "fastapi_proxy_lib":
        from fastapi_proxy_lib.fastapi.app import reverse_http_app

        return reverse_http_app(base_url=ORIGIN + "/")
    return {"aiohttp": Aiohttp, "httpx": Httpx, "pyreqwest": Pyreqwest}[name]()

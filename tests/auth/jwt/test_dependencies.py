from typing import Annotated

import pytest
from fastapi import FastAPI, WebSocket

from ramkit.auth.jwt import BearerAuthMiddleware, TokenUser
from ramkit.auth.jwt.dependencies import CurrentUser, require_scopes
from ramkit.testing.client import drive
from tests.auth.jwt.making import hs256
from tests.auth.jwt.test_middleware import websocket

SERVICE = hs256()


@pytest.fixture
def app():
    app = FastAPI()

    @app.get("/me")
    def me(user: CurrentUser):
        return {"user": user.identity}

    @app.get("/orders", dependencies=[require_scopes("orders:read")])
    def orders():
        return []

    @app.get("/write")
    def write(user: Annotated[TokenUser, require_scopes("orders:read", "orders:write")]):
        return {"user": user.identity}

    @app.websocket("/ws")
    async def ws(socket: WebSocket, user: CurrentUser):
        await socket.accept()
        await socket.send_text(user.identity)
        await socket.close()

    app.add_middleware(BearerAuthMiddleware, verifier=SERVICE, required=False)
    return app


async def test_each_status(app, asgi_client):
    reader = {"authorization": f"Bearer {SERVICE.sign({'sub': 'ada', 'scope': 'orders:read'})}"}
    async with asgi_client(app) as client:
        assert (await client.get("/me", headers=reader)).json() == {"user": "ada"}
        assert (await client.get("/orders", headers=reader)).json() == []
        for path in ("/me", "/orders", "/write"):
            nobody = await client.get(path)
            assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
        lacking = await client.get("/write", headers=reader)
        assert lacking.status_code == 403
        expected = 'Bearer error="insufficient_scope", scope="orders:read orders:write"'
        assert lacking.headers["www-authenticate"] == expected


async def test_websocket(app):
    token = SERVICE.sign({"sub": "ada"})
    accept, text, _ = await drive(app, websocket(["bearer", token], path="/ws"))
    assert accept["subprotocol"] == "bearer"
    assert text["text"] == "ada"
    refused, *_ = await drive(app, websocket(path="/ws", extensions={"websocket.http.response": {}}))
    assert refused["status"] == 401


def test_they_appear_in_openapi(app):
    schema = app.openapi()
    assert schema["components"]["securitySchemes"] == {
        "Bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    security = {path: item["get"]["security"] for path, item in schema["paths"].items()}
    assert security["/me"] == [{"Bearer": []}]
    assert security["/orders"] == [{"Bearer": ["orders:read"]}]
    assert security["/write"] == [{"Bearer": ["orders:read", "orders:write"]}]

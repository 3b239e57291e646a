"""Login with a session: the browser holds an id that means nothing, Redis holds the rest."""

from typing import Annotated

from fastapi import FastAPI, Form, HTTPException, Request

from ramkit.auth.passwords import PasswordService
from ramkit.auth.sessions import CSRFMiddleware, SessionMiddleware, Sessions


def create_app(redis: str, users: dict[str, str]) -> FastAPI:
    """``users``: hashes of passwords by name."""
    app = FastAPI()
    sessions, passwords = Sessions(redis), PasswordService()

    @app.post("/login")
    async def login(
        request: Request, name: Annotated[str, Form()], password: Annotated[str, Form()]
    ) -> dict[str, str]:
        if not await passwords.verify(users.get(name), password):
            raise HTTPException(401, "The name or the password is wrong.")
        request.session["user"] = name  # the session gets a new id by itself
        return {"user": name}

    @app.get("/me")
    async def me(request: Request) -> dict[str, str | None]:
        return {"user": request.session.get("user")}

    @app.post("/logout")
    async def logout(request: Request, everywhere: bool = False) -> None:
        if everywhere and "user" in request.session:
            await sessions.revoke_all(request.session["user"])
        request.session.clear()

    app.add_middleware(CSRFMiddleware)
    app.add_middleware(SessionMiddleware, store=sessions)
    return app

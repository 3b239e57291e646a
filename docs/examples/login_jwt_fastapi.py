"""Login with a JWT: a token that lives for minutes, and a refresh token that is good for one use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Form, HTTPException

from ramkit.auth.jwt import BearerAuthMiddleware, JWTService, RefreshGrant, RefreshTokens, Revocations
from ramkit.auth.jwt.dependencies import CurrentUser
from ramkit.auth.passwords import PasswordService


def create_app(redis: str, secret: str, users: dict[str, str]) -> FastAPI:
    """``secret``: the same in all processes, 32 bytes or more. ``users``: hashes of passwords by name."""
    revocations = Revocations(redis)
    service = JWTService(
        secret=secret, issuer="https://shop.example", audience="shop", revocations=revocations
    )
    refreshes, passwords = RefreshTokens(redis, revocations=revocations), PasswordService()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await refreshes.aclose()

    app = FastAPI(lifespan=lifespan)

    def tokens(grant: RefreshGrant) -> dict[str, Any]:
        access = service.sign({"sub": grant.subject, "sid": grant.family})
        return {"access_token": access, "token_type": "bearer", "refresh_token": grant.token}

    @app.post("/login")
    async def login(name: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, Any]:
        if not await passwords.verify(users.get(name), password):
            raise HTTPException(401, "The name or the password is wrong.")
        return tokens(await refreshes.issue(name))

    @app.post("/refresh")
    async def refresh(refresh_token: Annotated[str, Form()]) -> dict[str, Any]:
        return tokens(await refreshes.refresh(refresh_token))

    @app.post("/logout")
    async def logout(user: CurrentUser) -> None:
        await revocations.revoke_family(user.claims["sid"])

    @app.get("/me")
    async def me(user: CurrentUser) -> dict[str, str]:
        return {"user": user.identity}

    app.add_middleware(BearerAuthMiddleware, verifier=service, public=["/login", "/refresh"])
    return app

"""Login with a JWT: a token that lives for minutes, and a refresh token that is good for one use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ramkit.auth.jwt import JWTService, RefreshGrant, RefreshTokens, Revocations
from ramkit.auth.passwords import PasswordService
from ramkit.router import Context, HTTPError, RamAPI, authenticate


def create_app(redis: str, secret: str, users: dict[str, str]) -> RamAPI:
    """``secret``: the same in all processes, 32 bytes or more. ``users``: hashes of passwords by name."""
    revocations = Revocations(redis)
    service = JWTService(
        secret=secret, issuer="https://shop.example", audience="shop", revocations=revocations
    )
    refreshes, passwords = RefreshTokens(redis, revocations=revocations), PasswordService()

    @asynccontextmanager
    async def lifespan(_: RamAPI) -> AsyncIterator[None]:
        yield
        await refreshes.aclose()

    app = RamAPI(lifespan=lifespan)

    def tokens(grant: RefreshGrant) -> dict[str, Any]:
        access = service.sign({"sub": grant.subject, "sid": grant.family})
        return {"access_token": access, "token_type": "bearer", "refresh_token": grant.token}

    @app.post("/login")
    async def login(ctx: Context) -> None:
        form = await ctx.form()
        name = str(form.get("name", ""))
        if not await passwords.verify(users.get(name), str(form.get("password", ""))):
            raise HTTPError(401, "The name or the password is wrong.")
        ctx.json(tokens(await refreshes.issue(name)))

    @app.post("/refresh")
    async def refresh(ctx: Context) -> None:
        form = await ctx.form()
        ctx.json(tokens(await refreshes.refresh(str(form.get("refresh_token", "")))))

    @app.post("/logout", authenticate(service))
    async def logout(ctx: Context) -> None:
        await revocations.revoke_family(ctx.user.claims["sid"])
        ctx.json(None)

    @app.get("/me", authenticate(service))
    async def me(ctx: Context) -> None:
        ctx.json({"user": ctx.user.identity})

    return app

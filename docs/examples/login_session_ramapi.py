"""Login with a session: the browser holds an id that means nothing, Redis holds the rest."""

from ramkit.auth.passwords import PasswordService
from ramkit.auth.sessions import CSRFMiddleware, SessionMiddleware, Sessions
from ramkit.router import Context, HTTPError, RamAPI


def create_app(redis: str, users: dict[str, str]) -> RamAPI:
    """``users``: hashes of passwords by name."""
    app = RamAPI()
    sessions, passwords = Sessions(redis), PasswordService()

    @app.post("/login")
    async def login(ctx: Context) -> None:
        form = await ctx.form()
        name = str(form.get("name", ""))
        if not await passwords.verify(users.get(name), str(form.get("password", ""))):
            raise HTTPError(401, "The name or the password is wrong.")
        ctx.session["user"] = name  # the session gets a new id by itself
        ctx.json({"user": name})

    @app.get("/me")
    async def me(ctx: Context) -> None:
        ctx.json({"user": ctx.session.get("user")})

    @app.post("/logout")
    async def logout(ctx: Context) -> None:
        if ctx.query.get("everywhere") and "user" in ctx.session:
            await sessions.revoke_all(ctx.session["user"])
        ctx.session.clear()
        ctx.status(204)

    app.add_middleware(CSRFMiddleware)
    app.add_middleware(SessionMiddleware, store=sessions)
    return app

"""What is not a resource: the page at `/`, the docs, the API's description, health."""

from functools import cache
from importlib.resources import files
from typing import Final

from flask import Blueprint, Flask, Response
from sqlalchemy import text

from robo.api import openapi
from robo.api.auth import public
from robo.api.state import reading

_PAGES: Final = Blueprint("pages", __name__)
_PAGE_SECONDS: Final = 300


def install(app: Flask) -> None:
    """Register the pages, and mark the static files as public."""
    app.register_blueprint(_PAGES)
    app.view_functions["static"] = public()(app.view_functions["static"])


@_PAGES.route("/")
@public()
def index() -> Response:
    """Return the page that says what this is."""
    return _page("index.html")


@_PAGES.route("/docs")
@public()
def docs() -> Response:
    """Return the browsable docs; they read /openapi.json and load nothing from elsewhere."""
    return _page("docs.html")


@_PAGES.route("/confirm")
@public()
def confirm() -> Response:
    """Return the page that mailed links open; the token stays in the fragment, off the logs."""
    return _page("confirm.html")


@_PAGES.route("/openapi.json")
@public()
def openapi_document() -> Response:
    """Return the API's description."""
    reply = Response(openapi.served(), content_type="application/json")
    reply.headers["Cache-Control"] = f"public, max-age={_PAGE_SECONDS}"
    return reply


@_PAGES.route("/health/live")
@public()
def live() -> dict[str, str]:
    """Return that the process answers."""
    return {"status": "ok"}


@_PAGES.route("/health/ready")
@public()
def ready() -> dict[str, str]:
    """Return that the database answers too."""
    with reading() as session:
        session.connection().execute(text("SELECT 1"))
    return {"status": "ok"}


@cache
def _text(name: str) -> str:
    """Return a page; read once a process."""
    return files("robo.api").joinpath("static", name).read_text("utf-8")


def _page(name: str) -> Response:
    reply = Response(_text(name), content_type="text/html; charset=utf-8")
    reply.headers["Cache-Control"] = f"public, max-age={_PAGE_SECONDS}"
    return reply

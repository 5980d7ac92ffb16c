"""Headers of every reply: nothing may be framed, sniffed, cached or leaked by a referrer."""

from typing import Final

from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix

from robo.api.auth import note_key_use
from robo.api.problems import request_id
from robo.config import Settings

_API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_COMMON: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
}
_TWO_YEARS: Final = 63_072_000


def install(app: Flask, settings: Settings) -> None:
    """Add the headers, and believe exactly as many proxies as there are."""
    if settings.proxy_hops:
        hops = settings.proxy_hops
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign] # Flask's documented way
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops
        )
    secure = settings.base_url.startswith("https://")

    def add(reply: Response) -> Response:
        note_key_use()
        for name, value in _COMMON.items():
            reply.headers[name] = value
        reply.headers["Request-Id"] = request_id()
        page = reply.mimetype == "text/html"
        reply.headers["Content-Security-Policy"] = _PAGE_POLICY if page else _API_POLICY
        if request.path.startswith("/v1/"):
            reply.headers["Cache-Control"] = "no-store"
        if secure or request.is_secure:
            reply.headers["Strict-Transport-Security"] = f"max-age={_TWO_YEARS}; includeSubDomains"
        return reply

    app.after_request(add)

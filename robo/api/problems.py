"""Errors on the wire: RFC 9457 problems with stable codes; only here are HTTP statuses known."""

import secrets
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, current_app, g, has_request_context, request
from marshmallow import fields
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from robo import logs
from robo.api.wire import Schema
from robo.core import errors
from robo.store.beginning import DatabaseBusyError

CONTENT_TYPE: Final = "application/problem+json"
_LOG = logs.get("api")
_BUSY_SECONDS: Final = 1
_BROKER_SECONDS: Final = 5

_STATUS: Final[tuple[tuple[type[errors.RoboError], HTTPStatus], ...]] = (
    (errors.InvalidInputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.AuthenticationError, HTTPStatus.UNAUTHORIZED),
    (errors.PermissionDeniedError, HTTPStatus.FORBIDDEN),
    (errors.NotFoundError, HTTPStatus.NOT_FOUND),
    (errors.ConflictError, HTTPStatus.CONFLICT),
    (errors.RateLimitedError, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.OutOfOrderError, HTTPStatus.CONFLICT),
    (errors.RefusedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.BrokerUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.BrokerError, HTTPStatus.BAD_GATEWAY),
    (DatabaseBusyError, HTTPStatus.SERVICE_UNAVAILABLE),
)
"""The first class that fits decides; what is not listed is our own fault: 500."""

_HTTP_CODES: Final = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.LENGTH_REQUIRED: "length_required",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}


class ProblemReply(Schema):
    """A problem in the form of RFC 9457."""

    type = fields.String(
        required=True,
        metadata={"format": "uri-reference", "example": "/problems/insufficient_funds"},
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True, metadata={"description": "Stable; programs look at this."})
    detail = fields.String(required=True)
    fields_ = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        data_key="fields",
        metadata={"description": "Field path -> what is wrong with it."},
    )
    reasons = fields.List(fields.String(), metadata={"description": "Codes of the rules."})
    request_id = fields.String(required=True)


def register(app: Flask) -> None:
    """Turn every error that leaves a view into a problem."""
    app.register_error_handler(errors.RoboError, of_error)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(OperationalError, of_database)
    app.register_error_handler(PoolTimeoutError, of_database)
    app.register_error_handler(Exception, of_surprise)


def request_id() -> str:
    """Return the random name of this request, which replies and logs share."""
    if not has_request_context():
        return "-"
    found: str | None = g.get("request_id")
    if found is None:
        found = g.request_id = secrets.token_hex(8)
    return found


def of_error(error: errors.RoboError) -> Response:
    """Return the problem of one of our own errors."""
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return of_surprise(error)
    reply = problem(
        status,
        error.code,
        error.detail,
        fields_=error.fields or None,
        reasons=list(error.reasons) or None,
    )
    if isinstance(error, errors.RateLimitedError):
        reply.headers["Retry-After"] = str(max(error.retry_after_seconds, 1))
    elif status is HTTPStatus.UNAUTHORIZED:
        reply.headers["WWW-Authenticate"] = 'Bearer realm="robo"'
    elif isinstance(error, errors.BrokerUnavailableError):
        reply.headers["Retry-After"] = str(_BROKER_SECONDS)
    elif status is HTTPStatus.SERVICE_UNAVAILABLE or error.code == "in_progress":
        reply.headers["Retry-After"] = str(_BUSY_SECONDS)
    return reply


def status_of(error: errors.RoboError) -> HTTPStatus:
    """Return the status of one of our own errors."""
    if error.code == "malformed_json":
        return HTTPStatus.BAD_REQUEST
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def of_http(error: HTTPException) -> Response:
    """Return the problem of an error of Flask or Werkzeug; its own words may echo the request."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if error.response is not None:
        return current_app.make_response(error.response)  # a redirect
    code = _HTTP_CODES.get(status, status.phrase.lower().replace(" ", "_").replace("-", "_"))
    reply = problem(status, code, f"{status.phrase}.")
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            reply.headers[name] = value
    return reply


def of_database(error: Exception) -> Response:
    """Return the problem of a database that is busy, or away: come back in a moment."""
    _log("request.database", error)
    reply = problem(HTTPStatus.SERVICE_UNAVAILABLE, "database_busy", "Try again in a moment.")
    reply.headers["Retry-After"] = str(_BUSY_SECONDS)
    return reply


def of_surprise(error: Exception) -> Response:
    """Return a problem that says nothing but the request's id; the log says where it came from."""
    _log("request.failed", error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "Something went wrong on our side. Quote the request id when you report it.",
    )


def problem(status: HTTPStatus, code: str, detail: str, **more: Any) -> Response:
    """Return a problem; members that are None are left out."""
    body: dict[str, Any] = {
        "type": f"/problems/{code}",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        **{name.rstrip("_"): value for name, value in more.items() if value is not None},
        "request_id": request_id(),
    }
    return Response(current_app.json.dumps(body), status=int(status), content_type=CONTENT_TYPE)


def _log(event: str, error: Exception) -> None:
    """Say where an error came from, but not its words: they may hold what a customer typed."""
    logs.failure(_LOG, event, error, request_id=request_id(), route=str(request.url_rule))

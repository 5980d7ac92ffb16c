"""What goes over the wire: fields with units, strict schemas, pages, and blueprints.

Money, shares and prices travel as decimal strings, because JavaScript loses integers beyond 2^53;
inside they are integers.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar, cast

import flask_smorest
import marshmallow as ma
from flask import Request, Response, request
from marshmallow import fields
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import UnsupportedMediaType
from werkzeug.routing import BaseConverter, IntegerConverter, Map

from robo.api import strict_json
from robo.api.fields import (
    ID_PATTERN,
    Cents,
    Day,
    Flag,
    Id,
    Instant,
    Ppm,
    Price,
    Shares,
    Text,
    UnknownAccounts,
    Whole,
    Word,
)
from robo.core.errors import InvalidInputError

__all__ = [
    "ID_PATTERN",
    "Blueprint",
    "Cents",
    "Day",
    "Flag",
    "Id",
    "Instant",
    "PageQuery",
    "Ppm",
    "Price",
    "Schema",
    "Shares",
    "Text",
    "UnknownAccounts",
    "View",
    "Whole",
    "Word",
    "blueprint",
    "csv_text",
    "decode_cursor",
    "encode_cursor",
    "json_body",
    "page_of",
    "paged",
    "upload",
]

View = TypeVar("View", bound=Callable[..., Any])

PAGE_MAX: Final = 100
_PAGE_DEFAULT: Final = 50
_CURSOR_MAX: Final = 200
_NUMBER_MAX: Final = 2**31 - 1
_PREFIX: Final = "/v1"


class Schema(ma.Schema):
    """Base of every request and reply: a field that we do not know is an error, not a typo."""

    class Meta:
        """Options of marshmallow."""

        unknown = ma.RAISE


class PageQuery(Schema):
    """Which page of a list: `after` is the `next` of the page before."""

    after = Text(longest=_CURSOR_MAX, pattern="[A-Za-z0-9_-]+", load_default=None)
    limit = fields.Integer(
        load_default=_PAGE_DEFAULT, validate=ma.validate.Range(min=1, max=PAGE_MAX)
    )


def page_of(item: type[Schema]) -> type[Schema]:
    """Return the schema of a page of items: `items`, and `next` (null on the last page)."""
    name = f"{item.__name__.removesuffix('Reply')}Page"
    return cast(
        "type[Schema]",
        type(
            name,
            (Schema,),
            {
                "__doc__": f"A page of {item.__name__}.",
                "items": fields.List(fields.Nested(item), required=True),
                "next": fields.String(required=True, allow_none=True),
            },
        ),
    )


def paged(items: Sequence[Any], cursor: str | None) -> dict[str, Any]:
    """Return a page: the items and where the next one starts, None if this was the last."""
    return {"items": items, "next": cursor}


def encode_cursor(*parts: str | int) -> str:
    """Return an opaque cursor of the last row's sort key."""
    raw = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> tuple[Any, ...]:
    """Return the sort key inside a cursor.

    Raises:
        InvalidInputError: If it is not one of ours for this list.
    """
    try:
        parts = strict_json.parse(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_"))
    except (ValueError, InvalidInputError):
        parts = None
    fine = isinstance(parts, list) and [type(part) for part in parts] == list(kinds)
    if not fine:
        message = "The cursor is not one of this list."
        raise InvalidInputError(message, code="bad_cursor", fields={"after": [message]})
    return tuple(parts)


class IdConverter(BaseConverter):
    """A path segment that has the form of an id; anything else is simply not found."""

    regex = ID_PATTERN


class NumberConverter(IntegerConverter):
    """A path segment that is a number we may have given out; a database cannot look up others."""

    regex = "[0-9]{1,10}"

    def __init__(self, map: Map) -> None:  # noqa: A002 - Werkzeug's name
        """Bound the number."""
        super().__init__(map, max=_NUMBER_MAX)


class _Parser(FlaskParser):
    """Reads requests strictly: unknown query fields are refused like unknown body fields."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}  # noqa: RUF012 - webargs types it so

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """Return the parsed body; the schema is applied later."""
        del schema
        return json_body(req)

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        """Return the query; a field given twice is ambiguous and refused."""
        for name, values in req.args.lists():
            if len(values) > 1 and not isinstance(schema.fields.get(name), fields.List):
                message = "This was given more than once."
                raise InvalidInputError(message, fields={name[:64]: [message]})
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: Any
    ) -> NoReturn:
        """Raise our own error with a flat map of fields."""
        del req, schema
        messages = cast("Mapping[str, Any]", error.messages)
        found: dict[str, list[str]] = {}
        for location in messages.values():
            _flatten("", location, found)
        detail = "Some fields are missing or not acceptable."
        raise InvalidInputError(detail, code="validation_failed", fields=found) from None


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc] # it has no types
    """A typed face of flask-smorest's blueprint with our strict parser."""

    ARGUMENTS_PARSER = _Parser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Register a view."""
        return cast("Callable[[View], View]", super().route(rule, **options))

    def arguments(self, schema: type[Schema] | ma.Schema, **options: Any) -> Callable[[View], View]:
        """Parse arguments by a schema and hand them to the view."""
        return cast("Callable[[View], View]", super().arguments(schema, **options))

    def response(
        self,
        status_code: int,
        schema: type[Schema] | ma.Schema | dict[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[View], View]:
        """Dump the view's value by a schema; a reply of 204 has no body at all."""
        dumped = super().response(status_code, schema, **options)
        if status_code != HTTPStatus.NO_CONTENT:
            return cast("Callable[[View], View]", dumped)

        def decorate(view: View) -> View:
            @wraps(view)
            def empty(*args: Any, **kwargs: Any) -> Response:
                view(*args, **kwargs)
                return Response(status=HTTPStatus.NO_CONTENT)

            return cast("View", dumped(empty))

        return decorate


def blueprint(name: str, description: str) -> Blueprint:
    """Return a blueprint of one resource under /v1."""
    return Blueprint(name, name, url_prefix=_PREFIX, description=description)


def json_body(req: Request | None = None) -> Any:
    """Return the parsed JSON body of the request; it is parsed once however often it is asked for.

    Raises:
        InvalidInputError: If it is not strict JSON.
        UnsupportedMediaType: If it is not sent as JSON.
    """
    req = req or request
    if req.mimetype != "application/json":
        raise UnsupportedMediaType
    cached: Any = req.environ.get("robo.json", ma.missing)
    if cached is ma.missing:
        cached = req.environ["robo.json"] = strict_json.parse(req.get_data(cache=True))
    return cached


def csv_text() -> str:
    """Return the body of a request that sends CSV, as text.

    Raises:
        UnsupportedMediaType: If it is not sent as CSV.
        InvalidInputError: If it is not UTF-8.
    """
    if request.mimetype != "text/csv":
        raise UnsupportedMediaType
    try:
        return request.get_data(cache=True).decode("utf-8")
    except UnicodeDecodeError as error:
        message = "The file is not UTF-8."
        raise InvalidInputError(message, code="csv_rows", fields={"csv": [message]}) from error


def upload(view: View) -> View:
    """Mark a view that accepts bodies of up to 1 MiB."""
    view.__dict__["robo_upload"] = True
    return view


_FIELDS_MAX: Final = 50


def _flatten(path: str, messages: Any, found: dict[str, list[str]]) -> None:
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            name = str(key) if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", str(key)) else "(unprintable)"
            _flatten(f"{path}.{name}" if path else name, inner, found)
    elif len(found) < _FIELDS_MAX:
        listed = messages if isinstance(messages, list) else [messages]
        found.setdefault(path or "body", []).extend(str(message) for message in listed)

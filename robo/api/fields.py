"""Fields with units: decimal strings on the wire, integers inside."""

import re
from datetime import UTC, date, datetime
from typing import Any, Final

import marshmallow as ma
from marshmallow import fields

from robo.api import strict_json
from robo.core.clock import iso_instant, to_micros
from robo.core.errors import InvalidInputError
from robo.core.money import PPM, format_cents, format_micros, parse_cents, parse_micros
from robo.core.shares import format_nanos, parse_nanos

ID_PATTERN: Final = "[a-z]{2,6}_[0-9a-f]{30}"
_POSITIVE: Final = r"^([1-9][0-9]{0,12}(\.[0-9]{1,2})?|0\.(0[1-9]|[1-9][0-9]?))$"
_UNSIGNED: Final = r"^(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$"
_SIGNED: Final = r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,2})?$"
_SHARES: Final = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?$"
_PRICE: Final = r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$"
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


class _Plain:
    """A field whose value alone decides how it is read and shown."""

    def read(self, value: Any) -> Any:
        """Return the value inside."""
        raise NotImplementedError

    def show(self, value: Any) -> Any:
        """Return the value on the wire; never called with None."""
        return value

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        del attr, data, kwargs
        return self.read(value)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        del attr, obj, kwargs
        return None if value is None else self.show(value)


class Text(fields.String):
    """A text of bounded length without control characters, as it was sent."""

    def __init__(
        self, *, shortest: int = 1, longest: int = 200, pattern: str | None = None, **more: Any
    ) -> None:
        """Bound the length; `pattern` must match the whole text."""
        self._pattern = None if pattern is None else re.compile(pattern)
        if pattern is not None:
            _describe(more, pattern=f"^({pattern})$")
        super().__init__(validate=ma.validate.Length(min=shortest, max=longest), **more)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            strict_json.check_text(text)
        except InvalidInputError as error:
            raise ma.ValidationError(error.detail) from error
        if self._pattern is not None and not self._pattern.fullmatch(text):
            message = "This does not have the form we expect."
            raise ma.ValidationError(message)
        return text


class Word(fields.String):
    """One of a few words."""

    def __init__(self, *words: str, **more: Any) -> None:
        """Name the words."""
        super().__init__(validate=ma.validate.OneOf(words), **more)


class Flag(_Plain, fields.Boolean):
    """True or false; no word or number stands for them."""

    def read(self, value: Any) -> bool:
        """Return the value itself if it is one of the two."""
        if not isinstance(value, bool):
            message = "This must be true or false."
            raise ma.ValidationError(message)
        return value

    def show(self, value: Any) -> bool:
        """Return the value as JSON's own; databases keep 0 and 1."""
        return bool(value)


class Whole(fields.Integer):
    """A whole number within bounds; int64 unless told otherwise."""

    def __init__(
        self, *, least: int = -strict_json.INT_MAX - 1, most: int = strict_json.INT_MAX, **more: Any
    ) -> None:
        """Bound the number."""
        super().__init__(strict=True, validate=ma.validate.Range(min=least, max=most), **more)

    def _validated(self, value: Any) -> Any:
        if isinstance(value, float):
            message = "This must be a whole number."
            raise ma.ValidationError(message)
        return super()._validated(value)


class Ppm(Whole):
    """A share of a whole in parts per million."""

    def __init__(self, *, least: int = 0, **more: Any) -> None:
        """Bound the share from below; differences may be negative."""
        super().__init__(least=least, most=PPM, **more)


class _Decimal(_Plain, fields.String):
    """A number as a decimal string."""

    form: re.Pattern[str]

    def __init__(self, form: str, example: str, **more: Any) -> None:
        """Say which strings are acceptable."""
        self.form = re.compile(form)
        _describe(more, pattern=form, example=example)
        super().__init__(**more)

    def read(self, value: Any) -> int:
        """Return the integer inside a decimal string."""
        if not isinstance(value, str) or not self.form.fullmatch(value):
            message = f"This must be a decimal string, like {self.metadata['example']}."
            raise ma.ValidationError(message)
        try:
            return self.parse(value)
        except InvalidInputError as error:
            raise ma.ValidationError(error.detail) from error

    def parse(self, text: str) -> int:
        """Return the integer of a string that has the right form."""
        raise NotImplementedError


class Cents(_Decimal):
    """Dollars as a decimal string, cents inside; must be positive unless told otherwise."""

    def __init__(self, *, signed: bool = False, zero: bool = False, **more: Any) -> None:
        """Allow zero, or any sign."""
        form = _SIGNED if signed else _UNSIGNED if zero else _POSITIVE
        super().__init__(form, "25.00", **more)

    def parse(self, text: str) -> int:
        """Return cents."""
        return parse_cents(text)

    def show(self, value: Any) -> str:
        """Return the decimal string."""
        return format_cents(value)


class Shares(_Decimal):
    """Shares as a decimal string, nanoshares inside."""

    def __init__(self, **more: Any) -> None:
        """Accept at most nine decimals."""
        super().__init__(_SHARES, "0.043459365", **more)

    def parse(self, text: str) -> int:
        """Return nanoshares."""
        return parse_nanos(text)

    def show(self, value: Any) -> str:
        """Return the decimal string."""
        return format_nanos(value)


class Price(_Decimal):
    """Dollars per share as a decimal string, micro-dollars inside."""

    def __init__(self, **more: Any) -> None:
        """Accept at most six decimals."""
        super().__init__(_PRICE, "230.10", **more)

    def parse(self, text: str) -> int:
        """Return micro-dollars."""
        return parse_micros(text)

    def show(self, value: Any) -> str:
        """Return the decimal string."""
        return format_micros(value)


class Id(Text):
    """One of our ids, `prefix_` and 30 hexadecimal digits."""

    def __init__(self, **more: Any) -> None:
        """Accept the form of our ids only."""
        super().__init__(longest=40, pattern=ID_PATTERN, **more)


class UnknownAccounts(fields.List[str]):
    """One's accounts elsewhere that stand in no figure beside it, to be told wherever one stands.

    Only one's own: that another member of the household has any is not told.
    """

    def __init__(self, *, allow_none: bool = False) -> None:
        """Describe the list; it may be null where somebody else looks at one's figures."""
        told = "Your accounts elsewhere without a file of trades: gains and wash sales there "
        super().__init__(
            Id(),
            required=True,
            allow_none=allow_none,
            metadata={"description": told + "are not known, nor counted here."},
        )


class Day(_Plain, fields.String):
    """A calendar date, YYYY-MM-DD; a `date` inside, and stored text is shown as it is."""

    def __init__(self, **more: Any) -> None:
        """Say the format."""
        _describe(more, format="date", example="2026-03-02")
        super().__init__(**more)

    def read(self, value: Any) -> date:
        """Return the date."""
        try:
            if isinstance(value, str) and _DAY.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            pass
        message = "This must be a date written YYYY-MM-DD."
        raise ma.ValidationError(message)

    def show(self, value: Any) -> str:
        """Return ISO text."""
        return value.isoformat() if isinstance(value, date) else str(value)


class Instant(_Plain, fields.String):
    """An instant in RFC 3339, micro-seconds since 1970 in UTC inside."""

    def __init__(self, **more: Any) -> None:
        """Say the format."""
        _describe(more, format="date-time", example="2026-03-02T15:00:00.000000Z")
        super().__init__(**more)

    def read(self, value: Any) -> int:
        """Return micro-seconds since 1970."""
        try:
            if isinstance(value, str) and _INSTANT.fullmatch(value):
                return to_micros(datetime.fromisoformat(value).astimezone(UTC))
        except (ValueError, OverflowError):
            pass
        message = "This must be an instant like 2026-03-02T15:00:00Z."
        raise ma.ValidationError(message)

    def show(self, value: Any) -> str:
        """Return RFC 3339 in UTC."""
        return iso_instant(value)


def _describe(options: dict[str, Any], **metadata: Any) -> None:
    options["metadata"] = {**metadata, **options.get("metadata", {})}

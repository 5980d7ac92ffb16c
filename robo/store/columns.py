"""Columns that mean the same on SQLite (STRICT) and PostgreSQL.

STRICT tables refuse the type names BIGINT, VARCHAR and DATETIME, so integers are 64-bit with an
SQLite variant, words are text, instants are micro-seconds, business dates are ISO text, and yes/no
is 0/1.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Text,
)
from sqlalchemy import text as words
from sqlmodel import Field

INT64_MAX: Final = 2**63 - 1
INT64 = BigInteger().with_variant(Integer(), "sqlite")
STRICT: Final = {"sqlite_strict": True}
KEYED: Final = {"sqlite_strict": True, "sqlite_with_rowid": False}
"""A strict table stored in the order of its key: one tree to touch instead of two."""
_UNSET: Final = object()


def text(
    *,
    key: bool = False,
    null: bool = False,
    index: bool = False,
    unique: bool = False,
    to: str | None = None,
    default: Any = _UNSET,
) -> Any:
    """Return a text column; `to` names the `table.column` it refers to."""
    return _field(Text(), key=key, null=null, index=index, unique=unique, to=to, default=default)


def bounded(value: Any) -> Any:
    """Return a value that fits its column: what the outside told may be beyond any sense."""
    return max(-INT64_MAX, min(value, INT64_MAX)) if isinstance(value, int) else value


def integer(
    *,
    key: bool = False,
    null: bool = False,
    index: bool = False,
    to: str | None = None,
    default: Any = _UNSET,
) -> Any:
    """Return a 64-bit integer column; `to` names the `table.column` it refers to."""
    return _field(INT64, key=key, null=null, index=index, unique=False, to=to, default=default)


def blob(
    *, key: bool = False, null: bool = False, unique: bool = False, default: Any = _UNSET
) -> Any:
    """Return a column of bytes: hashes, codes, cipher texts."""
    return _field(
        LargeBinary(), key=key, null=null, index=False, unique=unique, to=None, default=default
    )


def check(name: str, condition: str) -> CheckConstraint:
    """Return a named rule that the database itself enforces."""
    return CheckConstraint(condition, name=f"ck_{name}")


def one_of(name: str, column: str, *words: str) -> CheckConstraint:
    """Return the rule that a column holds one of a few words."""
    listed = ", ".join(f"'{word}'" for word in words)
    return check(name, f"{column} IN ({listed})")


def partial(name: str, condition: str, *fields: str) -> Index:
    """Return an index of the rows that meet a condition: others cost it nothing."""
    return Index(name, *fields, sqlite_where=words(condition), postgresql_where=words(condition))


def _field(
    kind: Any, *, key: bool, null: bool, index: bool, unique: bool, to: str | None, default: Any
) -> Any:
    parts = [ForeignKey(to)] if to else []
    column: Column[Any] = Column(
        kind, *parts, primary_key=key, nullable=null, index=index or None, unique=unique or None
    )
    if key and kind is INT64:
        column.autoincrement = False
    if default is not _UNSET:
        return Field(default=default, sa_column=column)
    return Field(default=None, sa_column=column) if null else Field(sa_column=column)

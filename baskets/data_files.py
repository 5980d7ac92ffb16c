"""Reads the data files that ship inside this package; knows nothing of what they mean."""

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from baskets.errors import DataFileError


def data_root() -> Traversable:
    """Return the folder of this room's own data."""
    return files("baskets") / "data"


def read_text(*parts: str) -> str:
    """Return one data file as text.

    Raises:
        DataFileError: If it is not there.
    """
    place = data_root().joinpath(*parts)
    if not place.is_file():
        message = f"{'/'.join(parts)} is missing"
        raise DataFileError(message, code="data_file_missing")
    return place.read_text(encoding="utf-8")


def read_toml(*parts: str) -> dict[str, Any]:
    """Return one TOML file as plain values.

    Raises:
        DataFileError: If it is missing or is not TOML.
    """
    try:
        return tomllib.loads(read_text(*parts))
    except tomllib.TOMLDecodeError as error:
        message = f"{'/'.join(parts)}: {error}"
        raise DataFileError(message) from error


def names_in(folder: str, ending: str) -> Iterator[str]:
    """Yield the file names of a data folder that end so, in alphabetical order."""
    place = data_root() / folder
    if place.is_dir():
        yield from sorted(entry.name for entry in place.iterdir() if entry.name.endswith(ending))

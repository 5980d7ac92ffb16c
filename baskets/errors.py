"""The errors of this room: a stable code, a sentence, and where text is at fault, the place.

```
BasketsError
├── DataFileError        one of our own data files is wrong
├── ScreenError          a screen's text is wrong: line, column, what was found and expected
├── ImportFileError      a vendor's file cannot be read at all
├── IndexFileError       a custom index's file is refused, with every fault found
├── RecipeError          a recipe is malformed
└── BuildError           a well-formed recipe or a replacement cannot give an honest basket
```
"""

from dataclasses import dataclass
from typing import Self


class BasketsError(Exception):
    """Base of every error this room raises on purpose; `code` is stable."""

    code = "baskets_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        """Keep one plain sentence and, if more specific than the class's, a code."""
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class DataFileError(BasketsError):
    """A data file that ships with us breaks its own format."""

    code = "data_file"


class RecipeError(BasketsError):
    """A recipe is malformed."""

    code = "recipe"


class BuildError(BasketsError):
    """A basket cannot be built honestly from what is left."""

    code = "cannot_build"


class ImportFileError(BasketsError):
    """A vendor's file cannot be read at all."""

    code = "import_file"


@dataclass(frozen=True, slots=True)
class IndexFault:
    """One thing wrong with a custom index's file; `line` is 0 where no line is at fault."""

    line: int
    code: str
    detail: str


class IndexFileError(BasketsError):
    """A custom index's file is refused; the code is that of its first fault."""

    code = "index_file"

    def __init__(self, faults: tuple[IndexFault, ...]) -> None:
        """Keep every fault that was found, the first of them in the sentence."""
        first = faults[0]
        place = f"line {first.line}: " if first.line else ""
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{place}{first.detail}{more}", code=first.code)
        self.faults = faults


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a text; lines and columns count from 1."""

    line: int
    column: int


class ScreenError(BasketsError):
    """A screen's text cannot be understood or cannot be applied; it points at the place."""

    code = "screen_syntax"

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        place: Place,
        found: str = "",
        expected: str = "",
    ) -> None:
        """Keep the sentence and the place; `found` and `expected` are for machines."""
        super().__init__(f"line {place.line}, column {place.column}: {detail}", code=code)
        self.place = place
        self.found = found
        self.expected = expected

    @classmethod
    def unexpected(cls, place: Place, found: str, expected: str) -> Self:
        """Return the commonest error: something else was expected here."""
        shown = f"`{found}`" if found else "the end of the text"
        return cls(
            f"found {shown}, expected {expected}",
            code="screen_syntax",
            place=place,
            found=found,
            expected=expected,
        )

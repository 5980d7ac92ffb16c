"""What an index can be tilted by: sets of names, and numbers per name.

Notation: N names, R dials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from robo.portfolio.checks import require
from robo.portfolio.problem import FloatArray, IntArray

VALUE_MAX: Final = 1e100
"""Numbers of a dial may be as large; what is beyond is a fault of whoever computed it."""


class Dial(IntEnum):
    """What a dial's numbers are."""

    SHARE = 0
    """1 for the names of a set, 0 for the others; parts of a name are allowed."""
    EXPOSURE = 1
    """A number per name, any scale; NaN where it is not known."""


@dataclass(frozen=True, slots=True)
class Dials:
    """What can be asked for, the same for all accounts."""

    name: tuple[str, ...]
    """R names, for sentences."""
    kind: IntArray
    """`Dial`, shape (R,)."""
    value: FloatArray
    """Shape (R, N)."""

    def __post_init__(self) -> None:
        """Refuse dials whose numbers are not what their kind says."""
        shaped = self.value.ndim == 2 and self.kind.shape == self.value.shape[:1]  # noqa: PLR2004 - (R, N)
        require("value", shaped and len(self.name) == len(self.kind), "must be (R, N)")
        share = self.value[self.kind == Dial.SHARE]
        require("value", bool(((share >= 0) & (share <= 1)).all()), "of a share must be 0 to 1")
        require("value", not np.isinf(self.value).any(), "must not be infinite")
        # Beyond it squares overflow, and a standard deviation would mean nothing.
        sane = not (np.abs(self.value) > VALUE_MAX).any()
        require("value", sane, f"must be within {VALUE_MAX:.0e} of zero")
        require("kind", bool(np.isin(self.kind, list(Dial)).all()), "must be SHARE or EXPOSURE")


def sets_of(what: str, label: Sequence[str | None]) -> Dials:
    """Return a share dial for each label, in alphabetical order.

    Args:
        what: What the labels are, for the dials' names: `sector` gives `sector technology`.
        label: Each name's label, N of them; None is in no set.
    """
    found = sorted({one for one in label if one is not None})
    value = [[float(one == each) for one in label] for each in found]
    return Dials(
        tuple(f"{what} {each}" for each in found),
        np.full(len(found), int(Dial.SHARE), dtype=np.int64),
        np.array(value, dtype=np.float64).reshape(len(found), len(label)),
    )


def exposures_of(name: Sequence[str], value: ArrayLike) -> Dials:
    """Return exposure dials: factor loadings or scores.

    Args:
        name: R names.
        value: Shape (R, N), NaN where not known.
    """
    numbers = np.asarray(value, dtype=np.float64)
    kind = np.full(len(name), int(Dial.EXPOSURE), dtype=np.int64)
    return Dials(tuple(name), kind, numbers)


def joined(*parts: Dials) -> Dials:
    """Return all dials of some, in order; all are about the same N names."""
    return Dials(
        tuple(name for part in parts for name in part.name),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.value for part in parts]),
    )

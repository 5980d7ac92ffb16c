"""What was sampled before, found again by the value of the question and never by its place."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


def digest(*arrays: ArrayLike) -> str:
    """Return a hexadecimal digest of arrays: types, shapes and bytes, in any memory order."""
    total = hashlib.sha256()
    for values in arrays:
        array = np.ascontiguousarray(values)
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What a sample depends on: equal keys, equal samples."""

    index: str
    """The index and the version of its model, as the caller names them."""
    size: int
    on: date
    excluded: str
    """Digest of the exclusions, required names and caps."""
    tilt: str
    """Digest of the benchmark after tilts."""
    effort: str = ""
    """What else the answer depends on: the least weight of a required name, kicks, and the plan."""

    @classmethod
    def of(
        cls,
        index: str,
        size: int,
        on: date,
        *,
        benchmark: ArrayLike,
        excluded: ArrayLike = (),
        required: ArrayLike = (),
        upper: ArrayLike = (),
        required_min: float = 0.001,
        kicks: int | None = None,
        plan: str = "",
    ) -> "SampleKey":
        """Return the key of a question asked in arrays; `plan` is the digest of the plan used."""
        who = digest(excluded, required, upper)
        return cls(index, size, on, who, digest(benchmark), f"{required_min!r}/{kicks}/{plan}")


class SampleCache(Generic[T]):
    """A bounded table of values by key; what was used longest ago leaves first.

    It holds no lock: one owner at a time, or a lock around it where a service shares it.
    """

    def __init__(self, most: int) -> None:
        """Hold at most `most` values.

        Raises:
            ValueError: If that is less than one.
        """
        if most < 1:
            message = f"most must be at least 1, not {most}"
            raise ValueError(message)
        self._most = most
        self._held: OrderedDict[SampleKey, T] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are held."""
        return len(self._held)

    def get(self, key: SampleKey, make: Callable[[], T]) -> T:
        """Return what is held under a key, made now if it is not; a failure is not held."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        value = make()
        self._held[key] = value
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return value

"""Compiled functions that keep their Python types; the one place that touches the compiler."""

from collections.abc import Callable
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

IntArray = NDArray[np.int64]
ByteArray = NDArray[np.int8]
KeyArray = NDArray[np.uint64]

_OPTIONS: Final[dict[str, Any]] = {
    "nogil": True,
    "parallel": False,
    "fastmath": False,
    "error_model": "numpy",
}
"""No threads of its own (a web process forks and has its own), no re-ordered floats, and no
check for division by zero: kernels divide by constants and by numbers they have checked."""

_SUMS: Final[dict[str, Any]] = {**_OPTIONS, "fastmath": {"reassoc", "contract"}}
"""Sums may be split over the lanes of a vector, products fused into them. The split is chosen
when the code is compiled, not while it runs: the same binary gives the same bytes for the same
input, whatever else runs. Infinities and NaN keep their meaning."""

_loaded: "list[Kernel[..., object]]" = []


def inline(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that kernels may call; it is compiled into each of them."""
    return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))


def inline_sums(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that kernels may call, with sums over vectors; see `_SUMS`."""
    return cast("Callable[P, R]", numba.njit(**_SUMS)(function))


class Kernel(Generic[P, R]):
    """A numerical function that is compiled, or read from the cache, on its first call.

    The signature is fixed: a call with other array types fails at once instead of compiling
    again in the middle of a request. Inputs are declared read-only, which accepts both kinds.
    """

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        """Remember the function; compile nothing yet."""
        self.function = function
        self.signature = signature
        self._run: Callable[P, R] | None = None

    def load(self) -> Callable[P, R]:
        """Return the compiled function; two threads may race here, the result is the same."""
        if self._run is None:
            self._run = _compile(self.function, self.signature)
        return self._run

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the compiled function."""
        return self.load()(*args, **kwargs)


def kernel(*arguments: str, returns: str = "int64") -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Return a decorator that makes a kernel of a function.

    Args:
        arguments: The compiler's names of the argument types; see `IN1` and its neighbours.
        returns: The compiler's name of the result type.
    """

    def decorate(function: Callable[P, R]) -> Kernel[P, R]:
        made = Kernel(function, f"{returns}({', '.join(arguments)})")
        _loaded.append(cast("Kernel[..., object]", made))
        return made

    return decorate


def load_all() -> int:
    """Compile or load every kernel that has been imported, and return how many there are."""
    for made in _loaded:
        made.load()
    return len(_loaded)


def _compile(function: Callable[P, R], signature: str) -> Callable[P, R]:
    try:
        compiled = numba.njit([signature], cache=True, **_OPTIONS)(function)
    except RuntimeError:
        # Neither the install nor the user's cache directory can be written: compile each time.
        compiled = numba.njit([signature], cache=False, **_OPTIONS)(function)
    return cast("Callable[P, R]", compiled)


INT: Final = "int64"
IN1: Final = "Array(int64, 1, 'C', True)"
IN2: Final = "Array(int64, 2, 'C', True)"
IN1_BOOLS: Final = "Array(bool, 1, 'C', True)"
IN2_UBYTES: Final = "Array(uint8, 2, 'C', True)"
IN1_FLOATS: Final = "Array(float64, 1, 'C', True)"
IN2_FLOATS: Final = "Array(float64, 2, 'C', True)"
OUT1_FLOATS: Final = "Array(float64, 1, 'C', False)"
OUT2_FLOATS: Final = "Array(float64, 2, 'C', False)"
IN2_BYTES: Final = "Array(int8, 2, 'C', True)"
OUT1: Final = "Array(int64, 1, 'C', False)"
OUT2: Final = "Array(int64, 2, 'C', False)"
OUT1_KEYS: Final = "Array(uint64, 1, 'C', False)"
OUT2_BYTES: Final = "Array(int8, 2, 'C', False)"

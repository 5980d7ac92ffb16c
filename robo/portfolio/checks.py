"""Arrays as the kernels need them: int64, contiguous, of the expected shape, or a ValueError."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio.jit import ByteArray, IntArray
from robo.portfolio.kernels import NAMES_MAX


def ints(name: str, values: ArrayLike, ndim: int | None = None) -> IntArray:
    """Return the values as contiguous int64, and never round, wrap or truncate on the way.

    Raises:
        ValueError: If they are not integers, do not fit int64, or have another dimension.
    """
    array = np.asarray(values)
    if array.size == 0 and array.dtype == np.float64:
        array = array.astype(np.int64)  # what an empty list looks like to NumPy
    too_large = array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max
    if array.dtype.kind not in "iu" or too_large:
        message = f"{name} must be integers that fit int64, not {array.dtype}"
        raise ValueError(message)
    if ndim is not None and array.ndim != ndim:
        message = f"{name} must have {ndim} dimensions, not {array.ndim}"
        raise ValueError(message)
    return np.asarray(array, dtype=np.int64, order="C")


def weight_rows(weight_ppm: ArrayLike, rows: int) -> IntArray:
    """Return weights as one row for all accounts or a row each; kernels check their sums.

    Raises:
        ValueError: If there is no column or too many, or the rows fit no account.
    """
    weight = ints("weight_ppm", weight_ppm)
    if weight.ndim == 1:
        weight = weight.reshape(1, -1)
    if weight.ndim != 2 or not 1 <= weight.shape[1] <= NAMES_MAX:  # noqa: PLR2004 - rows, columns
        message = f"weight_ppm must be (N,) or (A, N) with N from 1 to {NAMES_MAX}"
        raise ValueError(message)
    require("weight_ppm", weight.shape[0] in {1, rows}, f"has {weight.shape[0]} rows for {rows}")
    return weight


def code_rows(blocked: ArrayLike | None, rows: int, columns: int) -> ByteArray:
    """Return the reason codes of blocked names as one row for all or a row each; 0 is free."""
    if blocked is None:
        return np.zeros((1, columns), dtype=np.int8)
    codes: NDArray[Any] = np.asarray(blocked)
    if codes.ndim == 1:
        codes = codes.reshape(1, -1)
    fits = codes.dtype == np.int8 and codes.shape in {(1, columns), (rows, columns)}
    require("blocked", fits, "must be int8 reason codes, (N,) or (A, N)")
    return np.ascontiguousarray(codes)


def require(name: str, holds: bool, problem: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Raise a ValueError that names the argument unless the condition holds."""
    if not holds:
        message = f"{name} {problem}"
        raise ValueError(message)

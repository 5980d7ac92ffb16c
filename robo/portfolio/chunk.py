"""Many accounts as arrays, and the one place where nanoshares meet prices in arrays.

A accounts, N securities, H holdings (account, security), L lots of holdings, K targets. Ragged
data is in CSR form: row i owns the flat entries `indptr[i]` up to `indptr[i + 1]`.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robo.portfolio import checks, kernels
from robo.portfolio.jit import IntArray


def notional_cents(nanos: ArrayLike, price_micros: ArrayLike) -> IntArray:
    """Return the cents that nanoshares are worth at prices, half away from zero, exactly.

    Args:
        nanos: Shares in 1e-9, any shape, up to 10^9 shares either side of zero.
        price_micros: Dollars per share in 1e-6, broadcast against it, 0 to $1,000,000.

    Raises:
        ValueError: If a count or a price lies outside these bounds.
    """
    held, price = np.broadcast_arrays(
        checks.ints("nanos", nanos), checks.ints("price_micros", price_micros)
    )
    cents = np.empty(held.size, dtype=np.int64)
    bad = kernels.notional(_flat(held), _flat(price), cents)
    checks.require("nanos or price_micros", bad < 0, f"is out of range at flat position {bad}")
    return cents.reshape(held.shape)


def nanos_for_cents(
    cents: ArrayLike, price_micros: ArrayLike, rounding: Literal["down", "up"] = "down"
) -> IntArray:
    """Return the most nanoshares whose exact cost does not exceed the cents.

    Args:
        cents: Amounts, any shape, 0 to 10^17.
        price_micros: Prices, broadcast against it, from 1 to 10^12.
        rounding: `up` gives the fewest nanoshares that are worth at least the cents instead.

    Raises:
        ValueError: If an input lies outside its bounds, or the result exceeds 10^9 shares.
    """
    amount, price = np.broadcast_arrays(
        checks.ints("cents", cents), checks.ints("price_micros", price_micros)
    )
    nanos = np.empty(amount.size, dtype=np.int64)
    bad = kernels.nanos_for(_flat(amount), _flat(price), int(rounding == "up"), nanos)
    checks.require("cents or price_micros", bad < 0, f"is out of range at flat position {bad}")
    return nanos.reshape(amount.shape)


@dataclass(frozen=True, slots=True)
class Slots:
    """The names that each account targets or holds, side by side; what the allocator works on.

    All arrays are (A, S), where S is the most names of any account. Within a row, names stand
    in the order of the securities; rows are padded with `security` -1 and zeros elsewhere.
    """

    security: IntArray
    holding_nanos: IntArray
    value_cents: IntArray
    weight_ppm: IntArray


@dataclass(frozen=True, slots=True)
class AccountChunk:
    """Accounts as arrays, loaded with one query per table; a planner's whole input.

    `account_ids` (A,) and `security_ids` (N,) name rows and columns; every other array speaks
    of positions in them. `cash_cents` (A,) is free cash. `target` (A,) is each account's row in
    the table of targets (`target_indptr` (K+1,), `target_security`, `target_weight_ppm`, each
    target sums to 1_000_000), -1 for an account without one. `holding_indptr` (A+1,),
    `holding_security`, `holding_nanos` (H,). `lot_indptr` (H+1,), `lot_nanos`,
    `lot_basis_cents`, `lot_acquired_day` (L,) (days since 1970-01-01). `price_micros` (N,).
    """

    account_ids: tuple[str, ...]
    security_ids: tuple[int, ...]
    cash_cents: IntArray
    target: IntArray
    target_indptr: IntArray
    target_security: IntArray
    target_weight_ppm: IntArray
    holding_indptr: IntArray
    holding_security: IntArray
    holding_nanos: IntArray
    lot_indptr: IntArray
    lot_nanos: IntArray
    lot_basis_cents: IntArray
    lot_acquired_day: IntArray
    price_micros: IntArray

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe one set of accounts.

        Raises:
            ValueError: If shapes, pointers or positions contradict each other.
        """
        accounts, names = len(self.account_ids), len(self.security_ids)
        for name in self.__dataclass_fields__:
            array = getattr(self, name)
            fits = isinstance(array, tuple) or (array.dtype == np.int64 and array.ndim == 1)
            checks.require(name, fits, "must be one-dimensional int64")
        checks.require("cash_cents", self.cash_cents.size == accounts, "must be (A,)")
        checks.require("target", self.target.size == accounts, "must be (A,)")
        checks.require("price_micros", self.price_micros.size == names, "must be (N,)")
        _check_csr("holding", self.holding_indptr, accounts, self.holding_nanos)
        _check_csr("lot", self.lot_indptr, self.holding_nanos.size, self.lot_nanos)
        targets = self.target_indptr.size - 1
        _check_csr("target", self.target_indptr, targets, self.target_weight_ppm)
        _check_positions("target", self.target, -1, targets)
        _check_positions("holding_security", self.holding_security, 0, names)
        _check_positions("target_security", self.target_security, 0, names)
        for name, array, size in (
            ("holding_security", self.holding_security, self.holding_nanos.size),
            ("target_security", self.target_security, self.target_weight_ppm.size),
            ("lot_basis_cents", self.lot_basis_cents, self.lot_nanos.size),
            ("lot_acquired_day", self.lot_acquired_day, self.lot_nanos.size),
        ):
            checks.require(name, array.size == size, f"must have {size} entries")

    def value_cents(self) -> IntArray:
        """Return what each holding is worth, (H,)."""
        return notional_cents(self.holding_nanos, self.price_micros[self.holding_security])

    def nav_cents(self) -> IntArray:
        """Return cash plus holdings of each account, (A,)."""
        running = np.concatenate(([0], np.cumsum(self.value_cents())))
        return (
            self.cash_cents + running[self.holding_indptr[1:]] - running[self.holding_indptr[:-1]]
        )

    def slots(self) -> Slots:
        """Return the union of targeted and held names, one row an account."""
        accounts, names = len(self.account_ids), len(self.security_ids)
        holder = np.repeat(np.arange(accounts), np.diff(self.holding_indptr))
        taker, entry = self._target_entries()
        held_key = holder * names + self.holding_security
        wanted_key = taker * names + self.target_security[entry]
        checks.require("holdings", np.unique(held_key).size == held_key.size, "repeat a name")
        pairs = np.unique(np.concatenate((held_key, wanted_key)))
        row, security = np.divmod(pairs, max(names, 1))
        first = np.searchsorted(row, np.arange(accounts))
        place = np.arange(pairs.size) - first[row]
        width = int(place.max()) + 1 if pairs.size else 0
        made = Slots(
            np.full((accounts, width), -1, dtype=np.int64),
            *(np.zeros((accounts, width), dtype=np.int64) for _ in range(3)),
        )
        made.security[row, place] = security
        held = np.searchsorted(pairs, held_key)
        made.holding_nanos[row[held], place[held]] = self.holding_nanos
        made.value_cents[row[held], place[held]] = self.value_cents()
        wanted = np.searchsorted(pairs, wanted_key)
        made.weight_ppm[row[wanted], place[wanted]] = self.target_weight_ppm[entry]
        return made

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Return the chunk of some of its accounts, in the order given; securities stay."""
        holdings, holding_indptr = _take_csr(self.holding_indptr, rows)
        lots, lot_indptr = _take_csr(self.lot_indptr, holdings)
        return type(self)(
            account_ids=tuple(self.account_ids[row] for row in rows),
            security_ids=self.security_ids,
            cash_cents=self.cash_cents[rows],
            target=self.target[rows],
            target_indptr=self.target_indptr,
            target_security=self.target_security,
            target_weight_ppm=self.target_weight_ppm,
            holding_indptr=holding_indptr,
            holding_security=self.holding_security[holdings],
            holding_nanos=self.holding_nanos[holdings],
            lot_indptr=lot_indptr,
            lot_nanos=self.lot_nanos[lots],
            lot_basis_cents=self.lot_basis_cents[lots],
            lot_acquired_day=self.lot_acquired_day[lots],
            price_micros=self.price_micros,
        )

    def _target_entries(self) -> tuple[IntArray, IntArray]:
        """Return, for each targeted name of each account, the account and the target's entry."""
        with_target = np.flatnonzero(self.target >= 0)
        entries, indptr = _take_csr(self.target_indptr, self.target[with_target])
        return np.repeat(with_target, np.diff(indptr)), entries


def _take_csr(indptr: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the flat entries of some rows, and the pointers that describe them anew."""
    counts = (indptr[1:] - indptr[:-1])[rows]
    pointers = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    within = np.arange(pointers[-1]) - np.repeat(pointers[:-1], counts)
    return np.repeat(indptr[rows], counts) + within, pointers


def _check_csr(name: str, indptr: IntArray, rows: int, flat: IntArray) -> None:
    fits = indptr.size == rows + 1 and indptr[0] == 0 and indptr[-1] == flat.size
    checks.require(f"{name}_indptr", fits, "does not cover its entries")
    checks.require(f"{name}_indptr", bool((np.diff(indptr) >= 0).all()), "must not decrease")


def _check_positions(name: str, positions: IntArray, least: int, size: int) -> None:
    inside = bool(((positions >= least) & (positions < size)).all())
    checks.require(name, inside, f"must lie from {least} to {size - 1}")


def _flat(array: IntArray) -> IntArray:
    return np.ascontiguousarray(array).reshape(-1)

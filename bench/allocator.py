"""The allocator over 10^6 accounts x 10 names, against PyPortfolioOpt and a Decimal loop.

All times are CPU time of one thread. Peers work account by account, so they run on a sample of
the same accounts and their rate is taken as it is; ratios compare rates. PyPortfolioOpt's
`DiscreteAllocation` buys whole shares only: how much of the money it places is printed beside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.report import Figure, cpu_seconds
from robo.portfolio import allocator, blocks, chunk, kernels

ACCOUNTS, NAMES = 1_000_000, 10
MINIMUM_CENTS = 100
PEER = "PyPortfolioOpt DiscreteAllocation"
RATE = "accounts/s per core"
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """The same accounts for everybody: drifted holdings, a deposit each, a basket each."""

    value_cents: IntArray
    cash_cents: IntArray
    weight_ppm: IntArray
    price_micros: IntArray


def run(*, quick: bool = False) -> list[Figure]:
    """Return rates of ours and of the peers, all from one run."""
    kernels.warm()
    inputs = make_inputs()
    sample = 200 if quick else 2_000
    repeats = 3 if quick else 7
    ours = measure_ours(inputs, repeats)
    loops = measure_loops(inputs, 10 * sample)
    figures = [Figure(name, rate, RATE) for name, rate in ours.items()]
    figures += [
        Figure(name, rate, RATE, f"ours: {mine}", ours[mine] / rate)
        for (name, mine), rate in loops.items()
    ]
    return [*figures, *measure_peer(inputs, sample, ours), *measure_blocks(repeats)]


def make_inputs() -> Inputs:
    """Return deposits of $1 to $1,000 into accounts of $0 to $30,000, drifted by 20 %."""
    rng = np.random.default_rng(2026)
    weight = rng.multinomial(1_000_000, rng.dirichlet(np.full(NAMES, 8.0)), size=ACCOUNTS)
    nav = np.floor(10 ** rng.uniform(0, 6.5, ACCOUNTS)) * (rng.random(ACCOUNTS) < 0.9)
    drift = np.exp(rng.normal(0, 0.2, weight.shape))
    value = (weight * drift / 1_000_000 * nav[:, None]).astype(np.int64)
    cash = np.floor(10 ** rng.uniform(2, 5, ACCOUNTS)).astype(np.int64)
    price = np.floor(10 ** rng.uniform(7, 8.7, NAMES)).astype(np.int64)
    return Inputs(value, cash, weight.astype(np.int64), price)


def measure_ours(inputs: Inputs, repeats: int) -> dict[str, float]:
    """Return accounts a second; every result is checked to the cent."""
    value, cash, weight = inputs.value_cents, inputs.cash_cents, inputs.weight_ppm
    shared = weight[0]
    need = np.minimum(cash, value.sum(axis=1))
    assert (allocator.split(cash, weight).sum(axis=1) == cash).all()
    bought = allocator.allocate_deposit(value, cash, weight, minimum_cents=MINIMUM_CENTS)
    assert (bought.buy_cents.sum(axis=1) == cash).all()
    sold = allocator.allocate_withdrawal(value, value, need, weight)
    assert (sold.sell_cents.sum(axis=1) == need).all()
    jobs: dict[str, Callable[[], object]] = {
        "bare split, one basket": lambda: allocator.split(cash, shared),
        "bare split, a basket each": lambda: allocator.split(cash, weight),
        "drift + minimum + carry": lambda: allocator.allocate_deposit(
            value, cash, weight, minimum_cents=MINIMUM_CENTS
        ),
        "withdrawal": lambda: allocator.allocate_withdrawal(value, value, need, weight),
        "notional of ten holdings": lambda: chunk.notional_cents(value, inputs.price_micros),
    }
    return {name: ACCOUNTS / cpu_seconds(job, repeats) for name, job in jobs.items()}


def measure_loops(inputs: Inputs, sample: int) -> dict[tuple[str, str], float]:
    """Return the rates of plain Decimal loops over a sample, with the name of our counterpart."""
    weights = [[Decimal(int(w)) for w in row] for row in inputs.weight_ppm[:sample]]
    values = [[Decimal(int(v)) for v in row] for row in inputs.value_cents[:sample]]
    cash = [Decimal(int(c)) for c in inputs.cash_cents[:sample]]

    def split_all() -> None:
        for amount, row in zip(cash, weights, strict=True):
            assert sum(decimal_split(amount, row)) == amount

    def invest_all() -> None:
        for amount, row, held in zip(cash, weights, values, strict=True):
            assert sum(decimal_deposit(held, amount, row)) == amount

    return {
        ("Decimal loop, split", "bare split, a basket each"): sample / cpu_seconds(split_all),
        ("Decimal loop, drift + minimum", "drift + minimum + carry"): sample
        / cpu_seconds(invest_all),
    }


def decimal_split(amount: Decimal, weights: list[Decimal]) -> list[Decimal]:
    """Return whole cents by largest remainder, as one writes it without arrays."""
    total = sum(weights)
    exact = [amount * weight / total for weight in weights]
    cents = [share.quantize(Decimal(1), rounding=ROUND_DOWN) for share in exact]
    left = int(amount - sum(cents))
    order = sorted(range(len(weights)), key=lambda i: (cents[i] - exact[i], i))
    for place in order[:left]:
        cents[place] += 1
    return cents


def decimal_deposit(held: list[Decimal], cash: Decimal, weights: list[Decimal]) -> list[Decimal]:
    """Return buys in proportion to what is missing, the smallest dropped until all reach $1.

    The plain thing to write; unlike ours it is not the closest to target.
    """
    nav = cash + sum(held)
    total = sum(weights)
    missing = [
        max(weight * nav / total - value, Decimal(0))
        for weight, value in zip(weights, held, strict=True)
    ]
    while True:
        cents = decimal_split(cash, missing)
        small = [i for i, amount in enumerate(cents) if 0 < amount < MINIMUM_CENTS]
        if not small or sum(gap > 0 for gap in missing) == 1:
            return cents
        missing[min(small, key=lambda i: cents[i])] = Decimal(0)


def measure_peer(inputs: Inputs, sample: int, ours: dict[str, float]) -> list[Figure]:
    """Return PyPortfolioOpt's rate and how much of the money it places, or that it is missing."""
    try:
        discrete: Any = import_module("pypfopt.discrete_allocation").DiscreteAllocation
        pandas: Any = import_module("pandas")
    except ImportError:
        return [Figure(PEER, None, RATE, "not installed: `make bench` installs it")]
    names = [f"N{number}" for number in range(NAMES)]
    prices = pandas.Series(inputs.price_micros / 1e6, index=names)
    placed: list[float] = []

    def invest_all() -> None:
        placed.clear()
        for row, cents in zip(inputs.weight_ppm[:sample], inputs.cash_cents[:sample], strict=True):
            weights = dict(zip(names, (row / 1e6).tolist(), strict=True))
            dollars = float(cents) / 100
            _, rest = discrete(weights, prices, dollars).greedy_portfolio()
            placed.append(1 - rest / dollars)

    rate = sample / cpu_seconds(invest_all)
    extrapolated = f"{PEER}, whole shares, {sample} sampled"
    return [
        Figure(extrapolated, rate, RATE, f"ours: {mine}", ours[mine] / rate)
        for mine in ("bare split, a basket each", "drift + minimum + carry")
    ] + [Figure(f"{PEER}: money it places (ours: 100)", 100 * float(np.mean(placed)), "%")]


def measure_blocks(repeats: int) -> list[Figure]:
    """Return how fast one execution is split over a block of a million orders."""
    rng = np.random.default_rng(7)
    open_cents = rng.integers(100, 10_000, ACCOUNTS)
    cents = int(open_cents.sum()) // 3
    names = [f"ord_{number}" for number in range(ACCOUNTS)]
    hashes = blocks.order_hashes(names)
    hashing = cpu_seconds(lambda: blocks.order_hashes(names))
    splitting = cpu_seconds(
        lambda: blocks.split_buy(open_cents, cents, 10**15, blocks.mix_keys("exe", hashes)),
        repeats,
    )
    return [
        Figure("block of 10^6 orders, split one execution", ACCOUNTS / splitting, "orders/s"),
        Figure("hash an order's id, once", ACCOUNTS / hashing, "orders/s"),
    ]

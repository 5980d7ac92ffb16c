"""The compiled search of sampling: which m names, and their weights.

Notation, as in docs/sampling.md: S = X X' + diag(d), c = S w, T the chosen names in m slots.
With M the inverse of S on T, the best weights that sum to `budget` and may have any sign cost

    constant + (-A + (budget - B)^2 / C) / 2,   A = c'Mc, B = 1'Mc, C = 1'M1.

All that is needed to price *every* exchange of a chosen name for one of a pool of P candidates
is kept up to date by rank-one changes: V = M S_TP, and for each candidate k its pivot
S_kk - S_kT M S_Tk and the residuals c_k - S_kT M c and 1 - S_kT M 1. Taking slot i out changes
each by a multiple of V_ik^2 / M_ii or V_ik / M_ii; putting k in adds one squared residual over
the pivot. So a whole neighbourhood of m (P - m) exchanges costs a dozen flops each, and making
one exchange O(m P).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robo.portfolio.jit import (
    IN1,
    IN1_FLOATS,
    IN2,
    IN2_FLOATS,
    IN2_UBYTES,
    OUT1_FLOATS,
    OUT2,
    OUT2_FLOATS,
    inline,
    kernel,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
StateArray = NDArray[np.uint8]

FLOAT: Final = "float64"
FREE: Final = 0
EXCLUDED: Final = 1
REQUIRED: Final = 2

_FORBIDDEN: Final = 1e300
_STEP_LEAST: Final = 1e-10
"""An exchange must better the cost by this part of the benchmark's variance; ends cycles."""
_SLOPE_LEAST: Final = 1e-12
"""A weight leaves its bound only if the cost falls faster than this."""
_SEED: Final = np.uint64(20_030_501)
_MULTIPLIER: Final = np.uint64(6_364_136_223_846_793_005)
_INCREMENT: Final = np.uint64(1_442_695_040_888_963_407)
_HIGH: Final = np.uint64(33)
"""A linear congruential generator of 64 bits (Knuth's multiplier); its high bits are used."""
_ROUNDS: Final = 5
"""How often the search starts again around weights that rest on bounds."""
_KICK_RANKS: Final = 48
"""Kicks bring in names from the first m plus this many of the pool."""


class Board(NamedTuple):
    """Where one search stands: m slots, P candidates; slots hold places in the pool."""

    covariances: FloatArray
    """S, shape (N, N)."""
    pool: IntArray
    """Names of the candidates, shape (P,)."""
    pull: FloatArray
    """c of the candidates, less what names that are not in slots already pull."""
    penalty: FloatArray
    """Shape (P,): 0 for who may come in."""
    slot: IntArray
    """Shape (m,)."""
    inverse: FloatArray
    """M, shape (m, m)."""
    work: FloatArray
    near: FloatArray
    """S_TP, shape (m, P)."""
    reply: FloatArray
    """V = M S_TP."""
    pivot: FloatArray
    left: FloatArray
    """c_k - S_kT M c."""
    rest: FloatArray
    """1 - S_kT M 1."""
    change: FloatArray
    answer: FloatArray
    """M c, shape (m,)."""
    ones: FloatArray
    """M 1."""
    edge: FloatArray


class Book(NamedTuple):
    """The names chosen and their weights between bounds; every array has shape (m,)."""

    name: IntArray
    low: FloatArray
    high: FloatArray
    h: FloatArray
    side: IntArray
    """Where a weight rests: -1 on its lower bound, 1 on its upper, 0 between."""
    place: IntArray
    """The name's place in the pool."""
    free: IntArray
    answer: FloatArray
    ones: FloatArray


@kernel(IN2_FLOATS, IN1_FLOATS, OUT2_FLOATS)
def covariance(factor: FloatArray, specific: FloatArray, out: FloatArray) -> int:
    """Write X X' + diag(d); `factor` is X', shape (K, N)."""
    rank, names = factor.shape
    out[:] = 0.0
    for i in range(names):
        out[i, i] = specific[i]
        for k in range(rank):
            head = factor[k, i]
            for j in range(names):
                out[i, j] += head * factor[k, j]
    return -1


@kernel(IN2_FLOATS, IN1_FLOATS, IN2_FLOATS, OUT2_FLOATS, OUT2_FLOATS, OUT1_FLOATS)
def pull(
    factor: FloatArray,
    specific: FloatArray,
    benchmark: FloatArray,
    c: FloatArray,
    seen: FloatArray,
    constant: FloatArray,
) -> int:
    """Write c = S w, its factor part X'w and w'Sw / 2 for each benchmark."""
    rank, names = factor.shape
    for a in range(benchmark.shape[0]):
        w = benchmark[a]
        total = 0.0
        for i in range(names):
            c[a, i] = specific[i] * w[i]
            total += specific[i] * w[i] * w[i]
        for k in range(rank):
            part = 0.0
            for i in range(names):
                part += factor[k, i] * w[i]
            seen[a, k] = part
            total += part * part
            for i in range(names):
                c[a, i] += part * factor[k, i]
        constant[a] = 0.5 * total
    return -1


@inline
def _cholesky(matrix: FloatArray, size: int) -> None:
    """Overwrite the upper triangle with U of U'U."""
    for j in range(size):
        scale = 1.0 / np.sqrt(max(matrix[j, j], 1e-300))
        for k in range(j, size):
            matrix[j, k] *= scale
        for i in range(j + 1, size):
            head = matrix[j, i]
            for k in range(i, size):
                matrix[i, k] -= head * matrix[j, k]


@inline
def _back(matrix: FloatArray, vector: FloatArray, size: int) -> None:
    """Overwrite the vector v with the solution of U'U x = v."""
    for j in range(size):
        vector[j] /= matrix[j, j]
        for k in range(j + 1, size):
            vector[k] -= matrix[j, k] * vector[j]
    for j in range(size - 1, -1, -1):
        for k in range(j + 1, size):
            vector[j] -= matrix[j, k] * vector[k]
        vector[j] /= matrix[j, j]


@inline
def _build(board: Board, size: int, count: int) -> None:
    """Write everything from scratch for the names in the slots."""
    inverse, near, work = board.inverse, board.near, board.work
    for i in range(size):
        row = board.covariances[board.pool[board.slot[i]]]
        for k in range(count):
            near[i, k] = row[board.pool[k]]
        for j in range(size):
            work[i, j] = near[i, board.slot[j]]
    _cholesky(work, size)
    for j in range(size):
        for k in range(size):
            inverse[j, k] = 0.0
        inverse[j, j] = 1.0
        _back(work, inverse[j], size)
    for k in range(count):
        board.pivot[k] = board.covariances[board.pool[k], board.pool[k]]
        board.left[k] = board.pull[k]
        board.rest[k] = 1.0
    for i in range(size):
        total, unit = 0.0, 0.0
        for j in range(size):
            total += inverse[i, j] * board.pull[board.slot[j]]
            unit += inverse[i, j]
        board.answer[i], board.ones[i] = total, unit
        target, near_i = board.reply[i], near[i]
        for k in range(count):
            target[k] = 0.0
        for j in range(size):
            head, row = inverse[i, j], near[j]
            for k in range(count):
                target[k] += head * row[k]
        for k in range(count):
            board.pivot[k] -= target[k] * near_i[k]
            board.left[k] -= near_i[k] * total
            board.rest[k] -= near_i[k] * unit


@inline
def _exchange(board: Board, size: int, count: int, i: int, new: int) -> None:
    """Put candidate `new` into slot i instead of what is there, by two rank-one changes."""
    inverse, reply, edge, change = board.inverse, board.reply, board.edge, board.change
    pivot, left, rest = board.pivot, board.left, board.rest
    weigh = 1.0 / inverse[i, i]
    gone = reply[i]
    first, second = board.answer[i] * weigh, board.ones[i] * weigh
    for k in range(count):
        pivot[k] += gone[k] * gone[k] * weigh
        left[k] += gone[k] * first
        rest[k] += gone[k] * second
    for j in range(size):
        edge[j] = inverse[i, j]
    for j in range(size):
        if j != i:
            head, row, other = edge[j] * weigh, reply[j], inverse[j]
            for k in range(count):
                row[k] -= head * gone[k]
            for k in range(size):
                other[k] -= head * edge[k]
            board.answer[j] -= edge[j] * first
            board.ones[j] -= edge[j] * second
    scale, pays, adds = 1.0 / pivot[new], left[new], rest[new]
    for j in range(size):
        edge[j] = reply[j, new]
        inverse[i, j], inverse[j, i] = 0.0, 0.0
    edge[i] = -1.0
    board.answer[i], board.ones[i] = 0.0, 0.0
    board.penalty[board.slot[i]] = 0.0
    board.penalty[new] = _FORBIDDEN
    board.slot[i] = new
    fresh, fetched = board.near[i], board.covariances[board.pool[new]]
    for k in range(count):
        fresh[k] = fetched[board.pool[k]]
        gone[k], change[k] = 0.0, 0.0
    for j in range(size):
        head, row = edge[j], board.near[j]
        for k in range(count):
            change[k] += head * row[k]
    for j in range(size):
        head, row, other = scale * edge[j], reply[j], inverse[j]
        for k in range(count):
            row[k] += head * change[k]
        for k in range(size):
            other[k] += head * edge[k]
        board.answer[j] -= head * pays
        board.ones[j] -= head * adds
    first, second = scale * pays, scale * adds
    for k in range(count):
        pivot[k] -= scale * change[k] * change[k]
        left[k] += first * change[k]
        rest[k] += second * change[k]


@inline
def _sums(board: Board, size: int) -> tuple[float, float, float]:
    """Return A, B and C."""
    a, b, c = 0.0, 0.0, 0.0
    for i in range(size):
        a += board.answer[i] * board.pull[board.slot[i]]
        b += board.answer[i]
        c += board.ones[i]
    return a, b, c


@inline
def _improve(
    board: Board, size: int, count: int, fixed: int, budget: float, least_step: float
) -> float:
    """Make the best exchange until none helps; the first `fixed` slots stay. Return the cost."""
    change, pivot, left, rest = board.change, board.pivot, board.left, board.rest
    penalty = board.penalty
    cost = 0.0
    for _ in range(4 * size + 4):
        a, b, c = _sums(board, size)
        cost = -a + (budget - b) * (budget - b) / c
        best, best_slot, best_new = cost - least_step, -1, -1
        for i in range(fixed, size):
            weigh = 1.0 / board.inverse[i, i]
            first, second = board.answer[i] * weigh, board.ones[i] * weigh
            a_less = a - board.answer[i] * first
            b_less = budget - b + board.answer[i] * second
            c_less = c - board.ones[i] * second
            gone = board.reply[i]
            for k in range(count):
                v = gone[k]
                scale = 1.0 / (pivot[k] + v * v * weigh)
                x = left[k] + v * first
                y = rest[k] + v * second
                short = b_less - x * y * scale
                change[k] = (
                    penalty[k] - a_less - x * x * scale + short * short / (c_less + y * y * scale)
                )
            for k in range(count):
                if change[k] < best:
                    best, best_slot, best_new = change[k], i, k
        if best_slot < 0:
            break
        _exchange(board, size, count, best_slot, best_new)
    return cost


@inline
def _above(gain: FloatArray, one: int, other: int) -> bool:
    return gain[one] > gain[other] or (gain[one] == gain[other] and one < other)


@inline
def _sink(gain: FloatArray, heap: IntArray, count: int) -> None:
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            return
        if child + 1 < count and _above(gain, heap[child], heap[child + 1]):
            child += 1
        if not _above(gain, heap[at], heap[child]):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@inline
def _choose_pool(gain: FloatArray, state: StateArray, pool: IntArray) -> tuple[int, int]:
    """Write the required names, then the free ones of highest gain; return both counts."""
    must = 0
    for i in range(state.size):
        if state[i] == REQUIRED:
            pool[must] = i
            must += 1
    heap = pool[must:]
    count = 0
    for i in range(state.size):
        if state[i] != FREE:
            continue
        if count < heap.size:
            at = count
            count += 1
            heap[at] = i
            while at > 0 and _above(gain, heap[(at - 1) // 2], heap[at]):
                parent = (at - 1) // 2
                heap[at], heap[parent] = heap[parent], heap[at]
                at = parent
        elif count > 0 and _above(gain, i, heap[0]):
            heap[0] = i
            _sink(gain, heap, count)
    for last in range(count - 1, 0, -1):
        heap[0], heap[last] = heap[last], heap[0]
        _sink(gain, heap, last)
    return must, must + count


@inline
def _weigh(
    covariances: FloatArray, c: FloatArray, book: Book, count: int, work: FloatArray
) -> None:
    """Write the best weights between bounds that sum to one.

    A primal active-set method: it stays feasible, and every step costs one factorisation.
    """
    name, low, high, h, side, free = (
        book.name,
        book.low,
        book.high,
        book.h,
        book.side,
        book.free,
    )
    answer, ones = book.answer, book.ones
    room, floor = 0.0, 0.0
    for i in range(count):
        side[i] = 0
        room += high[i] - low[i]
        floor += low[i]
    for i in range(count):
        h[i] = low[i] + (1.0 - floor) * (high[i] - low[i]) / max(room, 1e-300)
    for _ in range(10 * count + 10):
        size, budget = 0, 1.0
        for i in range(count):
            if side[i] == 0:
                free[size] = i
                size += 1
            else:
                budget -= h[i]
        for j in range(size):
            row = covariances[name[free[j]]]
            answer[j], ones[j] = c[name[free[j]]], 1.0
            for i in range(count):
                if side[i] != 0:
                    answer[j] -= row[name[i]] * h[i]
            for k in range(size):
                work[j, k] = row[name[free[k]]]
        _cholesky(work, size)
        _back(work, answer, size)
        _back(work, ones, size)
        total, unit = 0.0, 0.0
        for j in range(size):
            total += answer[j]
            unit += ones[j]
        price = (total - budget) / unit if size > 0 else 0.0
        reach, stop, stop_side = 1.0, -1, 0
        for j in range(size):
            i = free[j]
            answer[j] -= price * ones[j]
            move = answer[j] - h[i]
            if answer[j] < low[i] and low[i] - h[i] > reach * move:
                reach, stop, stop_side = (low[i] - h[i]) / move, i, -1
            elif answer[j] > high[i] and high[i] - h[i] < reach * move:
                reach, stop, stop_side = (high[i] - h[i]) / move, i, 1
        for j in range(size):
            h[free[j]] += reach * (answer[j] - h[free[j]])
        if stop >= 0:
            side[stop] = stop_side
            h[stop] = low[stop] if stop_side < 0 else high[stop]
        elif not _release(covariances, c, book, count, price, size):
            break


@inline
def _release(
    covariances: FloatArray, c: FloatArray, book: Book, count: int, price: float, between: int
) -> bool:
    """Let go the weight that most wants to leave its bound; with none free, the best pair."""
    down, up, down_slope, up_slope = -1, -1, np.inf, -np.inf
    for i in range(count):
        if book.side[i] != 0 and book.high[i] > book.low[i]:
            row = covariances[book.name[i]]
            slope = price - c[book.name[i]]
            for k in range(count):
                slope += row[book.name[k]] * book.h[k]
            if book.side[i] < 0 and slope < down_slope:
                down, down_slope = i, slope
            elif book.side[i] > 0 and slope > up_slope:
                up, up_slope = i, slope
    if between == 0:
        if down < 0 or up < 0 or up_slope <= down_slope + _SLOPE_LEAST:
            return False
        book.side[down], book.side[up] = 0, 0
        return True
    if max(up_slope, -down_slope) <= _SLOPE_LEAST:
        return False
    book.side[down if -down_slope >= up_slope else up] = 0
    return True


@inline
def _miss(
    factor: FloatArray,
    specific: FloatArray,
    w: FloatArray,
    name: IntArray,
    count: int,
    h: FloatArray,
    active: FloatArray,
) -> float:
    """Return (h - w)'S(h - w), from the factors and not from c, so that little cancels."""
    for i in range(w.size):
        active[i] = -w[i]
    for j in range(count):
        active[name[j]] += h[j]
    total = 0.0
    for i in range(w.size):
        total += specific[i] * active[i] * active[i]
    for k in range(factor.shape[0]):
        part = 0.0
        for i in range(w.size):
            part += factor[k, i] * active[i]
        total += part * part
    return total


@inline
def _seat(board: Board, book: Book, size: int, must: int, count: int) -> tuple[int, int, float]:
    """Prepare a search around weights that rest on bounds.

    A name on a bound other than zero keeps its weight and leaves the slots; a name at zero leaves
    its slot to the candidate with the strongest pull. Return slots, fixed slots and the budget.
    """
    seats, fixed, budget, idle = 0, 0, 1.0, 0
    board.penalty[:count] = 0.0
    for i in range(size):
        board.penalty[book.place[i]] = _FORBIDDEN
        if book.side[i] == 0:
            board.slot[seats] = book.place[i]
            seats += 1
            fixed += i < must
        elif i < must or book.h[i] > 0.0:
            budget -= book.h[i]
            row = board.covariances[book.name[i]]
            for k in range(count):
                board.pull[k] -= row[board.pool[k]] * book.h[i]
        else:
            idle += 1
    for _ in range(idle):
        best, score = -1, -np.inf
        for k in range(count):
            worth = board.pull[k] / np.sqrt(board.covariances[board.pool[k], board.pool[k]])
            if board.penalty[k] == 0.0 and worth > score:
                best, score = k, worth
        if best >= 0:
            board.penalty[best] = _FORBIDDEN
            board.slot[seats] = best
            seats += 1
    return seats, fixed, budget


@inline
def _gather(board: Board, book: Book, size: int, must: int, seats: int, fixed: int) -> int:
    """Write the book's places anew, required names first: who kept a weight, then the slots."""
    free, total = book.free, 0
    for i in range(must):
        if book.side[i] != 0:
            free[total] = book.place[i]
            total += 1
    for i in range(fixed):
        free[total] = board.slot[i]
        total += 1
    for i in range(must, size):
        if book.side[i] != 0 and book.h[i] > 0.0:
            free[total] = book.place[i]
            total += 1
    for i in range(fixed, seats):
        free[total] = board.slot[i]
        total += 1
    for i in range(total):
        book.place[i] = free[i]
    return total


@inline
def _open(board: Board, book: Book, size: int, must: int, upper: FloatArray, least: float) -> None:
    """Write names and bounds of what stands in the book's places."""
    for i in range(size):
        book.name[i] = board.pool[book.place[i]]
        book.low[i] = least if i < must else 0.0
        book.high[i] = upper[book.name[i]]


@inline
def _move_to(board: Board, size: int, count: int, fixed: int, wanted: IntArray) -> None:
    """Exchange what is not wanted for what is, in the order of slots and of candidates."""
    i = fixed
    for k in range(count):
        if wanted[board.pool[k]] == 1 and board.penalty[k] == 0.0:
            while i < size and wanted[board.pool[board.slot[i]]] == 1:
                i += 1
            if i == size:
                return
            _exchange(board, size, count, i, k)


@inline
def _kick(board: Board, size: int, count: int, fixed: int, seed: np.uint64) -> np.uint64:
    """Exchange a few names at random: a fixed sequence, the same for every account."""
    reach = min(count, size + _KICK_RANKS)
    if reach <= size or fixed >= size:
        return seed
    for _ in range(max(2, (size - fixed) // 6)):
        seed = seed * _MULTIPLIER + _INCREMENT
        i = fixed + int((seed >> _HIGH) % np.uint64(size - fixed))
        seed = seed * _MULTIPLIER + _INCREMENT
        k = int((seed >> _HIGH) % np.uint64(reach))
        if board.penalty[k] == 0.0:
            _exchange(board, size, count, i, k)
    return seed


@inline
def _remember(board: Board, size: int, wanted: IntArray) -> None:
    """Mark the names in the slots."""
    wanted[:] = 0
    for i in range(size):
        wanted[board.pool[board.slot[i]]] = 1


@inline
def _search(
    board: Board,
    size: int,
    count: int,
    fixed: int,
    favourite: IntArray,
    kicks: int,
    step: float,
    wanted: IntArray,
    trial: IntArray,
) -> None:
    """Leave the slots at the best names found from all starts, and their inverse with them."""
    _build(board, size, count)
    cost = _improve(board, size, count, fixed, 1.0, step)
    _remember(board, size, wanted)
    for number in range(favourite.shape[0]):
        trial[:] = 0
        for i in range(size):
            if favourite[number, i] >= 0:
                trial[favourite[number, i]] = 1
        _move_to(board, size, count, fixed, trial)
        found = _improve(board, size, count, fixed, 1.0, step)
        if found < cost - step:
            cost = found
            _remember(board, size, wanted)
    seed = _SEED
    for _ in range(kicks):
        _move_to(board, size, count, fixed, wanted)
        seed = _kick(board, size, count, fixed, seed)
        found = _improve(board, size, count, fixed, 1.0, step)
        if found < cost - step:
            cost = found
            _remember(board, size, wanted)
    _move_to(board, size, count, fixed, wanted)


@inline
def _write(
    name: IntArray, h: FloatArray, total: int, must: int, member: IntArray, weight: FloatArray
) -> None:
    """Write members by rising name; who ended at zero and need not be in is left out."""
    used = 0
    for i in range(total):
        if i >= must and h[i] <= 0.0:
            continue
        at = used
        while at > 0 and member[at - 1] > name[i]:
            member[at], weight[at] = member[at - 1], weight[at - 1]
            at -= 1
        member[at], weight[at] = name[i], h[i]
        used += 1
    member[used:] = -1
    weight[used:] = 0.0


@kernel(
    IN2_FLOATS,
    IN1_FLOATS,
    IN2_FLOATS,
    IN2_FLOATS,
    IN2_FLOATS,
    IN1_FLOATS,
    IN2_UBYTES,
    IN2_FLOATS,
    IN2,
    IN1,
    FLOAT,
    OUT2,
    OUT2_FLOATS,
    OUT1_FLOATS,
)
def search_rows(
    factor: FloatArray,
    specific: FloatArray,
    covariances: FloatArray,
    benchmark: FloatArray,
    c: FloatArray,
    upper: FloatArray,
    state: StateArray,
    gain: FloatArray,
    favourite: IntArray,
    plan: IntArray,
    least: float,
    member: IntArray,
    weight: FloatArray,
    variance: FloatArray,
) -> int:
    """Write members, weights and squared tracking error of each account.

    `plan` holds m, how many candidates to search among, and how many kicks.
    """
    size, kicks = plan[0], plan[2]
    names, most = specific.size, max(plan[1], plan[0])
    board = Board(
        covariances,
        np.empty(most, np.int64),
        np.empty(most),
        np.empty(most),
        np.empty(size, np.int64),
        np.empty((size, size)),
        np.empty((size, size)),
        np.empty((size, most)),
        np.empty((size, most)),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(most),
        np.empty(size),
        np.empty(size),
        np.empty(size),
    )
    book = Book(
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size),
    )
    active = np.empty(names)
    wanted, trial = np.zeros(names, np.int64), np.zeros(names, np.int64)
    for a in range(state.shape[0]):
        own = 0 if c.shape[0] == 1 else a
        must, count = _choose_pool(gain[a], state[a], board.pool)
        total = min(size, count)
        own_variance = 0.0
        for k in range(count):
            board.pull[k] = c[own, board.pool[k]]
            board.penalty[k] = 0.0
        for i in range(names):
            own_variance += c[own, i] * benchmark[own, i]
        for i in range(total):
            board.slot[i] = i
            board.penalty[i] = _FORBIDDEN
        step = _STEP_LEAST * own_variance
        _search(board, total, count, must, favourite, kicks, step, wanted, trial)
        for i in range(total):
            book.place[i] = board.slot[i]
        variance[a] = np.inf
        for _ in range(_ROUNDS):
            _open(board, book, total, must, upper, least)
            _weigh(covariances, c[own], book, total, board.work)
            missed = _miss(factor, specific, benchmark[own], book.name, total, book.h, active)
            if missed >= variance[a] - step:
                break
            variance[a] = missed
            _write(book.name, book.h, total, must, member[a], weight[a])
            rests = 0
            for i in range(total):
                rests += book.side[i] != 0
            if rests == 0:
                break
            for k in range(count):
                board.pull[k] = c[own, board.pool[k]]
            seats, fixed, budget = _seat(board, book, total, must, count)
            if seats > fixed:
                _build(board, seats, count)
                _improve(board, seats, count, fixed, budget, step)
            total = _gather(board, book, total, must, seats, fixed)
    return -1

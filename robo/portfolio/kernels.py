"""The compiled loops of the allocator, the blocks and the notional: int64 only, exact.

They live in one file on purpose: the compiler's cache notices a change of the file a kernel
stands in, and of no other. Wrappers in `chunk`, `allocator`, `drift` and `blocks` own shapes,
units and errors; a kernel returns -1, or the first row that it refuses.

Notation, as in docs/allocator.md: `g` is a gap in cents held as `whole` (floor) and `rest`
(millionths of a cent, 0..999_999); `x` amounts; `k` how many names trade; `m` the minimum;
`L` the integer water level, so that x = whole + L for every name above its floor.
"""

from typing import Final

import numpy as np

from robo.portfolio.jit import (
    IN1,
    IN2,
    IN2_BYTES,
    INT,
    OUT1,
    OUT1_KEYS,
    OUT2,
    OUT2_BYTES,
    ByteArray,
    IntArray,
    KeyArray,
    inline,
    kernel,
    load_all,
)

PPM: Final = 1_000_000
NAV_CENTS_MAX: Final = 10**15
"""Ten trillion dollars an account; weight x NAV is then exact in high and low parts."""
NAMES_MAX: Final = 5_000
"""Columns: keeps NAMES_MAX x NAV_CENTS_MAX inside int64."""
NANOS_MAX: Final = 10**18
PRICE_MICROS_MAX: Final = 10**12
CENTS_MAX: Final = 10**17
"""The largest notional of NANOS_MAX at PRICE_MICROS_MAX."""
_GIGA: Final = 10**9
_SCALE: Final = 10**13
_SMALL: Final = 32
"""Below this many names, counting who is larger beats sorting (measured)."""

# Reason codes written by kernels. Frozen numbers, because compiled code is cached; the
# allocator maps them to `robo.core.reasons` and a test compares the two.
BUY_UNDERWEIGHT: Final = 1
BUY_NEW_NAME: Final = 2
SELL_WITHDRAWAL: Final = 3
SKIP_BELOW_MINIMUM: Final = 4
SKIP_AT_TARGET: Final = 5
SKIP_NO_CASH: Final = 6
SKIP_UNSETTLED: Final = 7
SKIP_NOT_OVERWEIGHT: Final = 8

_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_WORD: Final = np.uint64(64)
_TOP: Final = np.uint64(1 << 63)
_BASE: Final = np.uint64(1 << 32)
_ZERO: Final = np.uint64(0)


def warm() -> int:
    """Compile every kernel, or load it from the cache, and return how many; for server start."""
    return load_all()


@inline
def _multiply_wide(left: np.uint64, right: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the high and low words of a 128-bit product."""
    left_low, left_high = left & _LOW, left >> _HALF
    right_low, right_high = right & _LOW, right >> _HALF
    middle = left_high * right_low + ((left_low * right_low) >> _HALF)
    carry = left_low * right_high + (middle & _LOW)
    return left_high * right_high + (middle >> _HALF) + (carry >> _HALF), left * right


@inline
def _digit(rest: np.uint64, following: np.uint64, divisor: np.uint64) -> np.uint64:
    """Return the next 32-bit digit of a quotient; the divisor has its top bit set."""
    high, low = divisor >> _HALF, divisor & _LOW
    guess = rest // high
    over = rest - guess * high
    while guess >= _BASE or guess * low > ((over << _HALF) | following):
        guess -= _ONE
        over += high
        if over >= _BASE:
            break
    return guess


@inline
def _divide_wide(
    high: np.uint64, low: np.uint64, divisor: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Return quotient and rest of a 128-bit number; `high` must be below the divisor.

    Source: long division by two 32-bit digits (Knuth, TAOCP 2, algorithm 4.3.1 D).
    """
    if high == _ZERO:
        return low // divisor, low % divisor
    shift = _ZERO
    scaled = divisor
    while scaled < _TOP:
        scaled <<= _ONE
        shift += _ONE
    if shift > _ZERO:
        high = (high << shift) | (low >> (_WORD - shift))
        low <<= shift
    first = _digit(high, low >> _HALF, scaled)
    rest = (high << _HALF) + (low >> _HALF) - first * scaled
    second = _digit(rest, low & _LOW, scaled)
    rest = (rest << _HALF) + (low & _LOW) - second * scaled
    return (first << _HALF) | second, rest >> shift


@kernel(IN1, IN1, OUT1)
def notional(nanos: IntArray, price: IntArray, cents: IntArray) -> int:
    """Write the cents of nanoshares at a price, half away from zero; whole shares apart."""
    for i in range(nanos.size):
        held, micros = abs(nanos[i]), price[i]
        if held < 0 or held > NANOS_MAX or micros < 0 or micros > PRICE_MICROS_MAX:
            return i
        shares, part = held // _GIGA, held % _GIGA
        high, low = micros // 10_000, micros % 10_000
        units = shares * low
        middle = part * high
        rest = (units % 10_000) * _GIGA + (middle % _GIGA) * 10_000 + part * low
        total = (
            shares * high + units // 10_000 + middle // _GIGA + (2 * rest + _SCALE) // (2 * _SCALE)
        )
        cents[i] = total if nanos[i] >= 0 else -total
    return -1


@kernel(IN1, IN1, INT, OUT1)
def nanos_for(cents: IntArray, price: IntArray, up: int, nanos: IntArray) -> int:
    """Write cents x 1e13 / price, rounded down, or up when `up` is 1."""
    for i in range(cents.size):
        micros = price[i]
        if cents[i] < 0 or cents[i] > CENTS_MAX or micros <= 0 or micros > PRICE_MICROS_MAX:
            return i
        high, low = _multiply_wide(np.uint64(cents[i]), np.uint64(_SCALE))
        if high >= np.uint64(micros):
            return i
        quotient, rest = _divide_wide(high, low, np.uint64(micros))
        if quotient > np.uint64(NANOS_MAX):
            return i
        nanos[i] = np.int64(quotient) + (1 if up == 1 and rest > _ZERO else 0)
    return -1


@kernel(IN1, INT, INT, OUT1, OUT1_KEYS)
def quotas(weight: IntArray, units: int, total: int, share: IntArray, rest: KeyArray) -> int:
    """Write floor(units x weight / total) and what the division left, exactly; total > 0."""
    left = units
    for i in range(weight.size):
        high, low = _multiply_wide(np.uint64(units), np.uint64(weight[i]))
        quotient, rest[i] = _divide_wide(high, low, np.uint64(total))
        share[i] = np.int64(quotient)
        left -= share[i]
    return left


@inline
def _grant(keys: IntArray, count: int, extra: int, amounts: IntArray) -> None:
    """Add one to the `extra` amounts with the largest keys, which are all different."""
    if extra <= 0:
        return
    if count <= _SMALL:
        for i in range(count):
            larger = 0
            for other in range(count):
                larger += keys[other] > keys[i]
            amounts[i] += larger < extra
        return
    least = np.sort(keys[:count])[count - extra]
    for i in range(count):
        amounts[i] += keys[i] >= least


@kernel(IN1, IN2, OUT2)
def split_rows(total: IntArray, weight: IntArray, out: IntArray) -> int:
    """Write each total split by its row of weights (one row serves all), largest remainder."""
    count = weight.shape[1]
    shared = weight.shape[0] == 1
    keys = np.empty(count, np.int64)
    for a in range(total.size):
        if total[a] < 0 or total[a] > NAV_CENTS_MAX:
            return a
        millions, units = total[a] // PPM, total[a] % PPM
        row = weight[0 if shared else a]
        cents = out[a]
        left, weights = total[a], 0
        for i in range(count):
            if row[i] < 0 or row[i] > PPM:
                return a
            weights += row[i]
            low = row[i] * units
            cents[i] = row[i] * millions + low // PPM
            keys[i] = (low % PPM) * count + (count - 1 - i)
            left -= cents[i]
        if weights != PPM:
            return a
        _grant(keys, count, left, cents)
    return -1


@kernel(IN2, OUT2)
def weight_rows(value: IntArray, out: IntArray) -> int:
    """Write each row's shares of its sum in ppm, summing to a million; all zero if it is zero."""
    count = value.shape[1]
    keys = np.empty(count, np.int64)
    for a in range(value.shape[0]):
        nav = 0
        for i in range(count):
            if value[a, i] < 0 or value[a, i] > NAV_CENTS_MAX:
                return a
            nav += value[a, i]
        if nav > NAV_CENTS_MAX:
            return a
        left = PPM
        for i in range(count):
            if nav == 0:
                out[a, i] = 0
                continue
            high, low = _multiply_wide(np.uint64(value[a, i]), np.uint64(PPM))
            quotient, rest = _divide_wide(high, low, np.uint64(nav))
            out[a, i] = np.int64(quotient)
            keys[i] = np.int64(rest) * count + (count - 1 - i)
            left -= out[a, i]
        if nav > 0:
            _grant(keys, count, left, out[a])
    return -1


@inline
def _nav(value: IntArray, weight: IntArray, cash: int) -> int:
    """Return holdings plus cash, or -1 if an input lies outside what the kernels are exact for."""
    nav, weights, bad = cash, 0, cash < 0 or cash > NAV_CENTS_MAX
    for i in range(value.size):
        bad |= value[i] < 0 or value[i] > NAV_CENTS_MAX or weight[i] < 0 or weight[i] > PPM
        nav += value[i]
        weights += weight[i]
    return -1 if bad or nav > NAV_CENTS_MAX or weights != PPM else nav


@inline
def _sort(order: IntArray, count: int, whole: IntArray, rest: IntArray) -> None:
    """Sort columns by gap, largest first, equal gaps by column; they come in by column."""
    if count > _SMALL:
        head = order[:count].copy()
        order[:count] = head[np.argsort(-whole[head], kind="mergesort")]
    for i in range(1, count):
        column = order[i]
        at = i
        while at > 0:
            before = order[at - 1]
            if whole[before] > whole[column]:
                break
            if whole[before] == whole[column] and (
                rest[before] > rest[column] or (rest[before] == rest[column] and before < column)
            ):
                break
            order[at] = before
            at -= 1
        order[at] = column


@inline
def _fill(
    k: int, m: int, cash: int, whole: IntArray, keys: IntArray, x: IntArray
) -> tuple[int, int]:
    """Write the best split of cash over the first k names (sorted), each at least m.

    Returns how many names lie above their floor, and the water level.
    """
    j, above, taken = 0, 0, 0
    while j < k:
        following = taken + whole[j]
        if cash - (k - j - 1) * m - following < (j + 1) * (m - whole[j]):
            break
        taken = following
        j += 1
    above = cash - (k - j) * m - taken
    level = above // j
    for i in range(j):
        x[i] = whole[i] + level
    for i in range(j, k):
        x[i] = m
    _grant(keys, j, above - level * j, x)
    return j, level


@inline
def _worth(
    k: int, m: int, cash: int, whole: IntArray, keys: IntArray, x: IntArray, y: IntArray
) -> bool:
    """Return whether k names are no worse than k - 1, comparing sums of squares exactly.

    The terms are taken relative to the water level, which keeps them small: see the bound in
    docs/allocator.md. `keys` holds the millionths of each gap times NAMES_MAX, plus a tie.
    """
    above, level = _fill(k, m, cash, whole, keys, x)
    if above == k:
        return True
    _fill(k - 1, m, cash, whole, keys, y)
    y[k - 1] = 0
    worse = 0
    for i in range(k):
        steps = x[i] + y[i] - 2 * (whole[i] + level)
        worse += (y[i] - x[i]) * (steps * PPM - 2 * (keys[i] // NAMES_MAX))
    return worse >= 0


@inline
def _choose(
    count: int, m: int, cash: int, whole: IntArray, keys: IntArray, x: IntArray, y: IntArray
) -> tuple[int, int]:
    """Write the best amounts over sorted names; return how many trade, and would without m.

    The cost is convex in the number of names (docs/allocator.md), so halving finds it.
    """
    if count == 0 or cash <= 0:
        return 0, 0
    _fill(count, 0, cash, whole, keys, x)
    wanted, sure = 0, 0
    while wanted < count and x[wanted] > 0:
        sure += x[wanted] >= m
        wanted += 1
    most = min(wanted, cash // m)
    if most == 0:
        return 0, wanted
    if sure == wanted:
        return wanted, wanted
    low, high = max(sure, 1), most
    while low < high:
        middle = (low + high + 1) // 2
        if _worth(middle, m, cash, whole, keys, x, y):
            low = middle
        else:
            high = middle - 1
    _fill(low, m, cash, whole, keys, x)
    return low, wanted


@inline
def _underweights(
    held: IntArray,
    target: IntArray,
    nav: int,
    stop: ByteArray,
    order: IntArray,
    whole: IntArray,
    rest: IntArray,
) -> int:
    """Write how far each holding is below its weight of NAV; list and count what may be bought."""
    millions, units = nav // PPM, nav % PPM
    free = 0
    for i in range(held.size):
        low = target[i] * units
        whole[i] = target[i] * millions + low // PPM - held[i]
        rest[i] = low % PPM
        if stop[i] == 0 and target[i] > 0:
            order[free] = i
            free += 1
    return free


@inline
def _skipped(wanted: bool, whole: int, rest: int) -> int:  # noqa: FBT001 - kernels take no keywords
    """Return why a name that may be bought is not."""
    if wanted:
        return SKIP_BELOW_MINIMUM
    return SKIP_NO_CASH if whole > 0 or (whole == 0 and rest > 0) else SKIP_AT_TARGET


@kernel(IN2, IN1, IN2, IN2_BYTES, INT, OUT2, OUT2_BYTES)
def deposit_rows(
    value: IntArray,
    cash: IntArray,
    weight: IntArray,
    blocked: ByteArray,
    m: int,
    buy: IntArray,
    code: ByteArray,
) -> int:
    """Write what each account buys with its cash, and why each name is bought or skipped."""
    rows, count = value.shape
    whole, rest, order = (
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
    )
    gaps, keys = np.empty(count, np.int64), np.empty(count, np.int64)
    x, y = np.empty(count, np.int64), np.empty(count, np.int64)
    for a in range(rows):
        held = value[a]
        target = weight[0 if weight.shape[0] == 1 else a]
        stop = blocked[0 if blocked.shape[0] == 1 else a]
        nav = _nav(held, target, cash[a])
        if nav < 0:
            return a
        free = _underweights(held, target, nav, stop, order, whole, rest)
        _sort(order, free, whole, rest)
        for p in range(free):
            gaps[p] = whole[order[p]]
            keys[p] = rest[order[p]] * NAMES_MAX + (NAMES_MAX - 1 - order[p])
        k, wanted = _choose(free, m, cash[a], gaps, keys, x, y)
        for i in range(count):
            buy[a, i] = 0
            code[a, i] = stop[i] if stop[i] != 0 else SKIP_AT_TARGET
        for p in range(free):
            i = order[p]
            if p < k:
                buy[a, i] = x[p]
                code[a, i] = BUY_NEW_NAME if held[i] == 0 else BUY_UNDERWEIGHT
            else:
                code[a, i] = _skipped(p < wanted, whole[i], rest[i])
    return -1


@inline
def _level_out(
    total: int, whole: IntArray, keys: IntArray, least: IntArray, most: IntArray, x: IntArray
) -> None:
    """Write amounts between `least` and `most` that sum to the total, closest to the gaps."""
    low, high = most[0] - whole[0], least[0] - whole[0]
    for i in range(whole.size):
        low = min(low, least[i] - whole[i])
        high = max(high, most[i] - whole[i])
    # The sum at `low` is at most the total; find the last level for which that holds.
    while low < high:
        level = low + (high - low + 1) // 2
        reached = 0
        for i in range(whole.size):
            reached += min(max(whole[i] + level, least[i]), most[i])
        if reached <= total:
            low = level
        else:
            high = level - 1
    left = total
    for i in range(whole.size):
        x[i] = min(max(whole[i] + low, least[i]), most[i])
        left -= x[i]
    picked = np.empty(whole.size, np.int64)
    for i in range(whole.size):
        # A name that cannot rise with the level never gets one of the last cents.
        rises = least[i] <= whole[i] + low < most[i]
        picked[i] = keys[i] if rises else -1 - i
    _grant(picked, whole.size, left, x)


@inline
def _smallest_below(m: int, least: IntArray, most: IntArray, x: IntArray) -> int:
    """Return the free name with the smallest trade below the minimum, the last of equals; or -1."""
    found = -1
    for i in range(x.size):
        broken = least[i] == 0 and 0 < x[i] < min(m, most[i])
        if broken and (found < 0 or x[i] <= x[found]):
            found = i
    return found


@inline
def _overweights(
    held: IntArray, target: IntArray, nav: int, whole: IntArray, keys: IntArray
) -> None:
    """Write by how much each holding exceeds its weight of what remains."""
    millions, units = nav // PPM, nav % PPM
    for i in range(held.size):
        low = target[i] * units
        part = low % PPM
        whole[i] = held[i] - target[i] * millions - low // PPM - (1 if part > 0 else 0)
        keys[i] = (PPM - part if part > 0 else 0) * NAMES_MAX + (NAMES_MAX - 1 - i)


@inline
def _open_up(
    held: IntArray, sellable: IntArray, stop: ByteArray, least: IntArray, most: IntArray
) -> int:
    """Write between what and what each name may be sold; return the sum, or -1 if malformed."""
    room = 0
    for i in range(held.size):
        if sellable[i] < 0 or sellable[i] > held[i]:
            return -1
        least[i] = 0
        most[i] = sellable[i] if stop[i] == 0 else 0
        room += most[i]
    return room


@inline
def _raise(
    goal: int,
    room: int,
    m: int,
    held: IntArray,
    target: IntArray,
    nav: int,
    least: IntArray,
    most: IntArray,
    whole: IntArray,
    keys: IntArray,
    x: IntArray,
) -> None:
    """Write sales that bring the goal; each round settles one name whose sale is too small."""
    floor = 0
    while True:
        total = max(goal, floor)
        _overweights(held, target, nav - total, whole, keys)
        _level_out(total, whole, keys, least, most, x)
        found = _smallest_below(m, least, most, x)
        if found < 0:
            return
        if room - most[found] >= goal:
            room -= most[found]
            most[found] = 0
        else:
            least[found] = min(m, most[found])
            floor += least[found]


@inline
def _sold(x: int, stop: int, held: int, sellable: int) -> int:
    """Return why a name is sold or not."""
    if x > 0:
        return SELL_WITHDRAWAL
    if stop != 0:
        return stop
    return SKIP_UNSETTLED if held > 0 and sellable == 0 else SKIP_NOT_OVERWEIGHT


@kernel(IN2, IN2, IN1, IN2, IN2_BYTES, INT, OUT2, OUT2_BYTES)
def withdrawal_rows(
    value: IntArray,
    sellable: IntArray,
    need: IntArray,
    weight: IntArray,
    blocked: ByteArray,
    m: int,
    sell: IntArray,
    code: ByteArray,
) -> int:
    """Write what each account sells for what it needs, and why each name is sold or skipped."""
    rows, count = value.shape
    whole, keys = np.empty(count, np.int64), np.empty(count, np.int64)
    least, most = np.empty(count, np.int64), np.empty(count, np.int64)
    for a in range(rows):
        held, x = value[a], sell[a]
        target = weight[0 if weight.shape[0] == 1 else a]
        stop = blocked[0 if blocked.shape[0] == 1 else a]
        nav = _nav(held, target, 0)
        room = _open_up(held, sellable[a], stop, least, most)
        if nav < 0 or room < 0 or need[a] < 0:
            return a
        x[:] = 0
        goal = min(need[a], room)
        if goal > 0:
            _raise(goal, room, m, held, target, nav, least, most, whole, keys, x)
        for i in range(count):
            code[a, i] = _sold(x[i], stop[i], held[i], sellable[a, i])
    return -1

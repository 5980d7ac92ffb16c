"""What every benchmark returns, and how it is printed: a table, or one JSON object a line."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from time import process_time


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; `ratio` is ours divided by the peer's, measured in the same run.

    `value` is None where a peer could not be measured; `peer` says why.
    """

    name: str
    value: float | None
    unit: str
    peer: str = ""
    ratio: float | None = None


def cpu_seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Return the least CPU time of some runs; it minds a busy machine less than the clock does."""
    best = float("inf")
    for _ in range(repeats):
        start = process_time()
        action()
        best = min(best, process_time() - start)
    return best


def json_line(figure: Figure) -> str:
    """Return a figure as one JSON object."""
    return json.dumps(asdict(figure))


def table(figures: Iterable[Figure]) -> str:
    """Return figures as aligned text."""
    rows = [("what", "value", "unit", "ratio", "against")]
    rows += [
        (
            figure.name,
            _number(figure.value),
            figure.unit,
            "" if figure.ratio is None else f"{_number(figure.ratio)} x",
            figure.peer,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in {1, 3} else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"

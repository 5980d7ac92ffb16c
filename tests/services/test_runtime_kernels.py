"""What is compiled is compiled when a process starts: no request and no job waits for it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from numba.core import event

from bench import instances
from bench.instances import Recipe
from robo.portfolio import jit, optimizer
from robo.runtime import KERNEL_MODULES, warm_kernels
from robo.tax import arrays

ROOT = Path(__file__).parents[2]


def strided(values: list[int]) -> np.ndarray:
    """Return integers as no kernel likes them: every second of an array, read-only."""
    array = np.repeat(np.array(values, dtype=np.int64), 2)[::2]
    array.flags.writeable = False
    return array


def test_after_the_start_no_first_call_compiles_anything() -> None:
    warm_kernels()

    with event.install_recorder("numba:compile") as compiled:
        for switches in ({}, {"netting": True, "hard_rows": 2}, {"trade_min_cents": 10_000}):
            problem = instances.draw(Recipe(accounts=2, names=20, factors=5, **switches))
            solution = optimizer.solve(problem)
            optimizer.solve(problem, solution.duals)
        indptr, day, nanos = strided([0, 2, 3]), strided([3, 1, 2]), strided([5, 7, 9])
        order = arrays.order(arrays.Method.HIFO, indptr, day, nanos, strided([50, 90, 10]))
        sold = arrays.take(order, indptr, nanos, strided([6, 9]))

    assert len(compiled.buffer) == 0
    assert sold.tolist() == [0, 6, 9]


def test_starting_loads_every_kernel_there_is() -> None:
    count = warm_kernels()

    assert count == len(jit._loaded) + 2
    assert all(kernel._run is not None for kernel in jit._loaded)
    with_kernels = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for room in ("robo", "baskets", "onboarding", "scheduler", "broker_adapters")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"^(@kernel\(|import numba)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert with_kernels - {"robo.portfolio.jit"} <= set(KERNEL_MODULES)


def test_what_needs_no_kernel_does_not_load_the_compiler() -> None:
    code = "import sys, robo.runtime; sys.exit('numba' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)

    assert done.returncode == 0

"""A laboratory for each test process, started at the first crash test; see crash_lab.py."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest


class Laboratory:
    """Asks a laboratory process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, command: str, *given: Any) -> dict[str, Any]:
        """Return what a command of `crash_server` answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *given]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the laboratory is gone; its last words are above"
        answer: dict[str, Any] = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer


@pytest.fixture(scope="session")
def open_laboratory() -> Iterator[Callable[..., Laboratory]]:
    """Return a function that starts a laboratory; all are ended with the tests."""
    with ExitStack() as stack:

        def start(*given: str) -> Laboratory:
            server = Path(__file__).parent / "crash_server.py"
            process = subprocess.Popen(
                [sys.executable, str(server), *given],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)  # closes its input, which ends it, and waits
            return Laboratory(process)

        yield start


@pytest.fixture(scope="session")
def laboratory(open_laboratory: Callable[..., Laboratory]) -> Laboratory:
    return open_laboratory()

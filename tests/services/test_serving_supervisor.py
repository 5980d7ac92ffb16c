"""The supervisor: restarts what dies, gives up on what must stay down, stops within its grace."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from robo.config import environment
from robo.core.errors import ConfigError
from robo.serving import STOPPED, Child, Supervisor, require_free


def child(name: str, program: str, *arguments: str) -> Child:
    return Child(name, (sys.executable, "-c", program, *arguments))


def run_until(supervisor: Supervisor, done: Callable[[], bool], seconds_more: float = 0.0) -> None:
    """Let a supervisor run until something is true, for two minutes at most, and a while longer."""

    def watch() -> None:
        until = time.monotonic() + 120
        while not done() and time.monotonic() < until:
            time.sleep(0.02)
        supervisor.stopping.wait(seconds_more)
        supervisor.stopping.set()

    # Signals can be handled by the main thread only, so it is stopped from another one.
    watching = threading.Thread(target=watch)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    watching.start()
    try:
        supervisor.run()
    finally:
        watching.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def written(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def test_a_child_that_dies_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    program = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(1)"
    dying = child("dying", program, str(log))

    began = time.monotonic()
    run_until(Supervisor([dying]), lambda: written(log) >= 3)

    # It lives for next to nothing, so what passes between two starts is the pause: 0.4 s, 0.8 s.
    assert time.monotonic() - began > 1.2
    assert dying.pause >= 0.8


def test_a_runner_that_found_the_books_wrong_stays_down(tmp_path: Path) -> None:
    log = tmp_path / "starts"
    program = f"import sys; open(sys.argv[1], 'a').write('x'); sys.exit({STOPPED})"
    stopped = child("runner", program, str(log))

    run_until(Supervisor([stopped]), lambda: stopped.given_up, seconds_more=1.0)

    assert log.read_text() == "x"
    assert stopped.given_up


def test_children_are_told_to_stop_and_may_finish(tmp_path: Path) -> None:
    log, ready = tmp_path / "ended", tmp_path / "ready"
    program = (
        "import signal, sys, time\n"
        "def stop(*_):\n    time.sleep(0.3); open(sys.argv[1], 'w').write('tidy'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "open(sys.argv[2], 'w').close()\n"
        "time.sleep(600)\n"
    )
    tidy = child("tidy", program, str(log), str(ready))

    run_until(Supervisor([tidy]), ready.exists)

    assert log.read_text() == "tidy"
    assert tidy.process is not None
    assert tidy.process.returncode == 0


def test_a_port_in_use_is_told_before_anything_starts() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(ConfigError, match="ROBO_PORT"):
            require_free("127.0.0.1", port)

    require_free("127.0.0.1", port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _get(url: str, seconds: float) -> tuple[int, bytes]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                return reply.status, reply.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.timeout(500)
def test_the_real_server_serves_survives_a_dead_child_and_leaves_no_process(
    tmp_path: Path,
) -> None:
    port = _free_port()
    more = {
        "ROBO_STATE_DIR": str(tmp_path / "state"),
        "ROBO_PORT": str(port),
        "ROBO_UNIVERSE": "minimal",
        "ROBO_WORKERS": "1",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "robo", "serve"],
            env={**environment(), **more},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        status, _ = _get(
            f"http://127.0.0.1:{port}/health/ready", 240
        )  # kernels may have to be compiled first
        started = _children(log)
        os.kill(started["web"][-1], signal.SIGKILL)
        deadline = time.monotonic() + 120
        while len(_children(log)["web"]) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        again, metrics = _get(f"http://127.0.0.1:{port}/metrics", 240)
        children = _children(log)
        server.kill()  # the supervisor gets no chance to stop its children
    finally:
        server.kill()
        server.wait()
    deadline = time.monotonic() + 120
    pids = [pid for found in children.values() for pid in found]
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert (status, again) == (200, 200)
    assert b"robo_waiting" in metrics
    assert len(children["web"]) == 2
    assert len(children["runner"]) == 1
    assert [pid for pid in pids if _alive(pid)] == []
    text = log.read_text()
    key = (tmp_path / "state" / "operator.key").read_text().strip()
    assert key not in text
    assert "operator.key" in text


def _children(log: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {"web": [], "runner": []}
    for line in log.read_text().splitlines():
        if line.startswith("{") and '"child.started"' in line:
            entry = json.loads(line)
            found[entry["child"]].append(entry["pid"])
    return found

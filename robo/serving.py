"""`robo serve`: a supervisor and its two children, the web server and the runner of the jobs.

A child that dies is started again, at once at first, then with growing pauses. A runner that ends
with STOPPED found the books wrong: it stays down, loudly, while reading goes on. Each child holds
the other end of its standard input; should the supervisor be killed, the pipe breaks and the
children stop by themselves.
"""

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from robo import logs
from robo.config import Settings, environment
from robo.core.errors import ConfigError
from robo.plugins import load

LOG: Final = logs.get("serve")
STOPPED: Final = 3
"""A runner's exit status for: the books are wrong, do not start me again."""
GRACE_SECONDS: Final = 20.0
"""How long children may finish what they are doing after a stop."""
_REQUEST_SECONDS: Final = 10
"""How long a web worker may finish its requests; less than the supervisor's patience."""
_WORKER_SECONDS: Final = 60
"""A worker that is silent for so long is replaced."""
_BACKLOG: Final = 1_024
_SILENCE_SECONDS: Final = 5
"""How long a client may say nothing in the middle of a request, or take nothing of a reply: each
such connection holds a thread, and there are few."""
_HEALTHY_SECONDS: Final = 30.0
_PAUSE_FIRST: Final = 0.2
_PAUSE_MAX: Final = 30.0
_POLL_SECONDS: Final = 0.1
SUPERVISED: Final = "--supervised"


@dataclass(slots=True)
class Child:
    """A process that should be running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = _PAUSE_FIRST
    next_start: float = 0.0
    given_up: bool = False

    def start(self) -> None:
        """Start the process."""
        self.process = subprocess.Popen(  # noqa: S603 - our own words
            self.command, stdin=subprocess.PIPE, env=self.environment
        )
        self.started = time.monotonic()
        logs.event(LOG, "child.started", child=self.name, pid=self.process.pid)

    def look(self) -> None:
        """Start the process if it should run and does not."""
        now = time.monotonic()
        if self.given_up or (self.process is None and now < self.next_start):
            return
        if self.process is None:
            self.start()
            return
        status = self.process.poll()
        if status is None:
            return
        self._let_go()
        self.process = None
        if status == STOPPED:
            self.given_up = True
            logs.event(LOG, "child.stopped_for_good", logs.CRITICAL, child=self.name)
            return
        lived = now - self.started
        self.pause = _PAUSE_FIRST if lived > _HEALTHY_SECONDS else min(_PAUSE_MAX, 2 * self.pause)
        self.next_start = now + self.pause
        logs.event(
            LOG, "child.died", logs.ERROR, child=self.name, exit_status=status, seconds=self.pause
        )

    def stop(self, deadline: float) -> None:
        """Wait for the process until a deadline, then kill it."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logs.event(LOG, "child.killed", logs.ERROR, child=self.name)
            self.process.kill()
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        """Close our end of the child's standard input."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


@dataclass(slots=True)
class Supervisor:
    """Keeps children alive until it is told to stop."""

    children: Sequence[Child]
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop the children within their grace."""
        on_stop_signals(self.stopping.set)
        try:
            while not self.stopping.is_set():
                for child in self.children:
                    child.look()
                self.stopping.wait(_POLL_SECONDS)
        finally:
            self._stop()

    def _stop(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        for child in self.children:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        for child in self.children:
            child.stop(deadline)
        logs.event(LOG, "serve.stopped")


def serve(settings: Settings) -> None:
    """Run the web server and the runner until told to stop."""
    require_free(settings.host, settings.port)
    me = (sys.executable, "-m", "robo")
    counters = settings.state_path / "metrics"
    shutil.rmtree(counters, ignore_errors=True)
    counters.mkdir(mode=0o700)
    shared = {**environment(), "PROMETHEUS_MULTIPROC_DIR": str(counters.absolute())}
    children = [Child("web", (*me, "web", SUPERVISED), shared)]
    if settings.runner != "none":
        children.append(Child("runner", (*me, "runner", SUPERVISED)))
    Supervisor(children).run()


def require_free(host: str, port: int) -> None:
    """Check that the port can be listened on.

    Raises:
        ConfigError: If another program holds it, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            message = f"cannot listen on {host}:{port} ({error.strerror}): set ROBO_PORT to another"
            raise ConfigError(message) from error


def web(settings: Settings) -> None:
    """Serve the API in this process until told to stop."""
    if sys.platform == "win32":  # gunicorn needs fork
        _waitress(settings)
    else:
        _gunicorn(settings)


def runner(settings: Settings) -> int:
    """Run the jobs in this process until told to stop; return the exit status."""
    run: Callable[[Settings], int] = load("robo.runners", settings.runner)
    return run(settings)


def stop_with_parent() -> None:
    """Stop this process once the supervisor at the other end of standard input is gone."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call a function on SIGTERM and on SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _application() -> Any:
    from robo.wsgi import application  # noqa: PLC0415 - built in each worker, never before a fork

    return application()


def _gunicorn(settings: Settings) -> None:
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415 - not there on Windows

    class Server(BaseApplication):  # type: ignore[misc] # gunicorn is untyped
        """Gunicorn with our settings; each worker builds its own application."""

        def load_config(self) -> None:
            """Set what gunicorn would read from a file."""
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            for name, value in {
                "bind": f"{host}:{settings.port}",
                "workers": settings.workers,
                "threads": settings.threads,
                "worker_class": "robo.web_worker.ProblemWorker",
                "preload_app": False,
                "timeout": _WORKER_SECONDS,
                "graceful_timeout": _REQUEST_SECONDS,
                "backlog": _BACKLOG,
                "proc_name": "robo",
                "errorlog": "-",
                "logconfig_dict": _LOGGING,
                "forwarded_allow_ips": "",
                "control_socket_disable": True,
                "when_ready": _bound_silence,
            }.items():
                self.cfg.set(name, value)

        def load(self) -> Any:
            """Return the application."""
            return _application()

    Server().run()


def _bound_silence(server: Any) -> None:
    """Set the bound on the listening sockets, from which every connection inherits it."""
    bound = struct.pack("ll", _SILENCE_SECONDS, 0)
    for listener in server.LISTENERS:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, bound)


_LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "robo.logs.JsonFormatter"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"level": "WARNING", "handlers": ["err"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["err"], "propagate": False},
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}


def _waitress(settings: Settings) -> None:
    import waitress  # noqa: PLC0415 - only where gunicorn cannot run

    on_stop_signals(lambda: sys.exit(0))
    threads = settings.workers * settings.threads
    waitress.serve(_application(), host=settings.host, port=settings.port, threads=threads)

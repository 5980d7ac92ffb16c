"""The switch is thrown in one process and stops another one that is in the middle of sending."""

import subprocess
import sys
import time
from pathlib import Path

from desk import Desk, desk_from, write_template

from robo.core.reasons import Reason
from robo.ports.broker import OrderTicket, SubmitResult
from robo.services.ordering import Trade

_THROW = """
import sys
from desk import Desk, quick
from robo.services import switching
desk = Desk(quick(__import__("pathlib").Path(sys.argv[1])))
switching.turn(desk.db, desk.keyring, desk.clock, "*", stop=True, reason="test", actor="other")
print("thrown", flush=True)
"""


def test_a_sender_stops_within_a_second_of_another_process_throwing_the_switch(
    tmp_path: Path,
) -> None:
    template = write_template(tmp_path / "template.db", "firm_a")
    with desk_from(template, tmp_path) as desk:
        (account,) = desk.open("firm_a", 1)
        desk.fund({account: 100_00})
        desk.plan(
            {account: [Trade(n, Reason.BUY_UNDERWEIGHT, buy_cents=5_00) for n in range(1, 7)]}, "x"
        )
        submit = desk.broker.submit
        thrown: list[float] = []
        late: list[float] = []

        def slow(ticket: OrderTicket) -> SubmitResult:
            if thrown:
                late.append(time.monotonic() - thrown[0])
            else:
                _throw(desk)
                thrown.append(time.monotonic())
            time.sleep(0.05)
            return submit(ticket)

        desk.broker.submit = slow  # type: ignore[method-assign]
        desk.send()

        assert len(desk.broker.told) == 1
        assert late == []
        codes = desk.column("SELECT code FROM block ORDER BY security_id")
        assert codes == ["", *["stopped"] * 5]


def _throw(desk: Desk) -> None:
    """Throw the switch from another process."""
    path = str(desk.db.engine.url.database)
    made = subprocess.run(
        [sys.executable, "-c", _THROW, path],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert made.stdout == "thrown\n", made.stderr

"""`make demo`: the main job through the real HTTP API, printed as it happens, and checked.

A server is started with a state directory of its own and a simulated clock; two young investors
sign up, answer, open accounts and put money in; a time-lapse lets a year pass. Nothing printed is a
literal, and every sum is computed again from the prices that the server tells.
"""

import json
import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from robo import config
from robo.config import Settings
from robo.core.clock import business_date
from robo.core.errors import RoboError
from robo.runtime import open_database
from robo.services.verifying import verify
from robo.store.schema import upgrade
from scheduler import timelapse
from scheduler.demo_client import (
    Checks,
    Client,
    DemoError,
    dollars,
    free_port,
    mailed_token,
    server,
)
from scheduler.timelapse import Timelapse

_START: Final = datetime(2027, 1, 4, 14, 50, tzinfo=UTC)
"""A Monday, ten minutes before the trading window: the first $100 is invested within a token."""
_EXAMPLES: Final = Path(__file__).parent.parent / "docs" / "examples"
_WRITES_MAX: Final = 8
_NAMES: Final = 10
_WEEKLY: Final = Decimal(25)
_YEAR: Final = timedelta(days=364)
_ROUTING, _BANK_ACCOUNT = "021000021", "123456789"


@dataclass(slots=True)
class Investor:
    """Somebody with an account, and the client that speaks for them."""

    client: Client
    email: str
    password: str
    customer_id: str = ""
    account_id: str = ""
    link_id: str = ""
    symbols: tuple[str, ...] = ()

    def log_in(self) -> None:
        """Get a fresh session; simulated months end the old one."""
        body = {"email": self.email, "password": self.password}
        self.client.token = ""
        reply = self.client.write("POST", "/v1/sessions", body)
        self.client.token, self.customer_id = reply["access_token"], reply["customer_id"]

    @property
    def path(self) -> str:
        """Return the path of the account."""
        return f"/v1/accounts/{self.account_id}"

    def portfolio(self) -> Any:
        """Return the account at market."""
        return self.client.get(f"{self.path}/portfolio")

    def orders(self) -> list[Any]:
        """Return every order of the account, without what was skipped."""
        found, cursor = [], ""
        while True:
            page = self.client.get(f"{self.path}/orders?limit=100{cursor}")
            found += [one for one in page["items"] if one["kind"] == "order"]
            if page["next"] is None:
                return found
            cursor = f"&after={page['next']}"


def main() -> int:
    """Run the demo; return 0 if every check passed."""
    began = time.monotonic()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="robo-demo-") as folder:
        try:
            _story(Path(folder), checks)
        except (DemoError, RoboError) as error:
            checks.that(False, str(error))  # noqa: FBT003 - it reads as a sentence
    seconds = time.monotonic() - began
    print(f"\n{checks.passed} checks passed, {len(checks.failed)} failed, {seconds:.1f} s")
    return int(bool(checks.failed))


def _story(folder: Path, checks: Checks) -> None:
    environment = {
        "ROBO_STATE_DIR": str(folder / "state"),
        "ROBO_PORT": str(free_port()),
        "ROBO_CLOCK": "sim",
        "ROBO_RUNNER": "none",
        "ROBO_WORKERS": "1",
        "ROBO_LOG_LEVEL": "warning",
    }
    settings = config.read(environment)
    _say("A server of its own starts, with a simulated clock")
    db = open_database(settings)
    upgrade(db)
    db.close()
    timelapse.set_clock(settings, _START)
    with (
        server(environment, folder / "server.log") as base_url,
        timelapse.opened(settings) as lapse,
    ):
        print(f"    {base_url}, {_START:%A %d %B %Y %H:%M} UTC")
        first = _hundred_dollars(Client(base_url), lapse, checks)
        _restricted(Client(base_url), first, lapse, checks)
        _weekly(first, lapse, checks)
        _withdraw(first, lapse, settings, checks)
        _close_out(first, lapse, checks)
        _prove(lapse, settings, checks)


def _hundred_dollars(client: Client, lapse: Timelapse, checks: Checks) -> Investor:
    _say("A young investor signs up, answers the questions and puts in $100")
    investor = _sign_up(client, {})
    outcome = _answer(investor, {})
    print(f"    risk score {outcome['score']['score']}: {outcome['score']['band_sentence']}")
    best = outcome["recommendation"]["baskets"][0]
    print(f"    {best['sentence']}")
    _open(investor, best["basket_id"])
    _deposit(investor, "100.00")
    writes = client.writes
    lapse.pass_moments(2)
    orders = _told_orders(investor)
    checks.that(len(orders) == _NAMES, f"{len(orders)} orders for ten companies")
    checks.that(all(o["state"] == "filled" for o in orders), "every order is filled")
    portfolio = _checked_portfolio(investor, checks)
    spent = sum(Decimal(order["filled_notional"]) for order in orders)
    cash = Decimal(portfolio["cash"]["total"])
    checks.that(
        spent + cash == Decimal(100), f"{spent} invested + {cash} cash = 100.00 to the cent"
    )
    checks.that(writes <= _WRITES_MAX, f"{writes} writing calls from sign-up to a filled basket")
    return investor


def _restricted(client: Client, first: Investor, lapse: Timelapse, checks: Checks) -> None:
    _say("A second investor works for a company of the same basket")
    basket_id = first.portfolio()["basket_id"]
    employer = first.client.get(f"/v1/baskets/{basket_id}")["constituents"][0]
    print(f"    the employer is {employer['name']} ({employer['symbol']})")
    investor = _sign_up(client, {"employer_name": employer["name"]})
    _answer(investor, {"employers": [employer["symbol"]]})
    rules = client.get(f"/v1/customers/{investor.customer_id}/restrictions")["items"]
    checks.that(
        [(rule["symbol"], rule["source"]) for rule in rules] == [(employer["symbol"], "employer")],
        f"{rules[0]['reason']} ({rules[0]['symbol']}: {rules[0]['verb']})",
    )
    _open(investor, basket_id)
    explained = f"/v1/baskets/{basket_id}/explain?customer_id={investor.customer_id}"
    for row in client.get(explained)["replaced"]:
        print(f"    {row['symbol']} is replaced by {row['stand_in']}: {row['reason']}")
    _deposit(investor, "100.00")
    lapse.pass_sessions(2)
    investor.log_in()
    orders = _told_orders(investor)
    bought = {order["symbol"] for order in orders}
    checks.that(len(bought) == _NAMES, f"{len(bought)} companies are bought")
    checks.that(employer["symbol"] not in bought, f"none of them is {employer['symbol']}")
    _checked_portfolio(investor, checks)


def _weekly(investor: Investor, lapse: Timelapse, checks: Checks) -> None:
    _say("$25 every Monday for a year, in time-lapse")
    investor.log_in()
    plan = {
        "amount": f"{_WEEKLY:.2f}",
        "cadence": "weekly",
        "day": 1,
        "bank_link_id": investor.link_id,
    }
    made = investor.client.write("POST", f"{investor.path}/plans", plan)
    before = Decimal(investor.portfolio()["flows"]["paid_in"])
    start = business_date(lapse.clock.now())
    began = time.monotonic()
    passed = lapse.pass_until(start + _YEAR)
    ms = 1_000 * (time.monotonic() - began) / passed.sessions
    print(f"    {passed.sessions} sessions passed, {ms:.0f} ms each; it is {passed.until:%d %B %Y}")
    investor.log_in()
    portfolio = _checked_portfolio(investor, checks)
    first = date.fromisoformat(made["next_on"])
    weeks = (start + _YEAR - first) // timedelta(weeks=1) + 1
    paid_in = Decimal(portfolio["flows"]["paid_in"]) - before
    checks.that(paid_in == weeks * _WEEKLY, f"{weeks} Mondays brought {paid_in}")
    idle, limit = Decimal(portfolio["cash"]["free"]), Decimal(portfolio["nav"]) / 400
    checks.that(idle <= max(Decimal(1), limit), f"{idle} of cash lies idle, at most 0.25 % or $1")
    print(f"    worth {portfolio['nav']}, of it {portfolio['total_gain']} gained or lost")


def _withdraw(investor: Investor, lapse: Timelapse, settings: Settings, checks: Checks) -> None:
    _say("A withdrawal of $200")
    outbox = settings.state_path / "outbox"
    # The first mail's link was for three days: a year later another is asked for.
    investor.client.write("POST", "/v1/email-verifications", {})
    lapse.pass_sessions(1)
    token = mailed_token(outbox, investor.email, "Confirm your e-mail address")
    investor.client.write("POST", "/v1/email-verifications/use", {"token": token})
    investor.log_in()
    before = investor.portfolio()
    wanted = {"amount": "200.00", "bank_link_id": investor.link_id}
    made = investor.client.write("POST", f"{investor.path}/withdrawals", wanted)
    lapse.pass_sessions(5)
    investor.log_in()
    done = investor.client.get(f"{investor.path}/withdrawals/{made['id']}")
    sold = [o for o in investor.orders() if o["side"] == "sell"]
    for order in sold[:3]:
        print(f"    sold {order['filled_shares']} {order['symbol']}: {order['sentence']}")
    checks.that(done["state"] == "paid", f"the withdrawal is {done['state']}")
    after = _checked_portfolio(investor, checks)
    paid = Decimal(after["flows"]["paid_out"]) - Decimal(before["flows"]["paid_out"])
    checks.that(paid == Decimal("200.00"), f"{paid} left for the bank")


def _close_out(investor: Investor, lapse: Timelapse, checks: Checks) -> None:
    _say("A full close-out")
    flows = investor.portfolio()["flows"]
    investor.client.write("POST", f"{investor.path}/closure", {"bank_link_id": investor.link_id})
    lapse.pass_sessions(8)
    investor.log_in()
    account = investor.client.get(investor.path)
    portfolio = investor.portfolio()
    held = [row["symbol"] for row in portfolio["holdings"] if Decimal(row["shares"])]
    checks.that(account["state"] == "closed", f"the account is {account['state']}")
    checks.that(not held, f"{len(held)} companies are held")
    checks.that(Decimal(portfolio["nav"]) == 0, f"{portfolio['nav']} of cash is left")
    paid = Decimal(portfolio["flows"]["paid_out"]) - Decimal(flows["paid_out"])
    print(f"    {paid} went to the bank")


def _prove(lapse: Timelapse, settings: Settings, checks: Checks) -> None:
    _say("robo verify")
    findings = verify(lapse.runtime.db, lapse.runtime.keyring, settings.anchors_path)
    for one in findings:
        print(f"    {one.code} {one.subject}: {one.detail}")
    checks.that(not findings, f"{len(findings)} findings")


def _sign_up(client: Client, employment: dict[str, str]) -> Investor:
    email = f"investor-{secrets.token_hex(4)}@example.com"
    investor = Investor(client, email, f"plum tree in the wind {secrets.token_hex(4)}")
    client.write("POST", "/v1/customers", {"email": email, "password": investor.password})
    investor.log_in()
    profile = _example("profile")
    profile["employment"] |= employment
    home = f"/v1/customers/{investor.customer_id}"
    for document in client.get(f"{home}/agreements")["items"]:
        if document["action"] == "deliver":
            client.get(f"{home}/agreements/{document['id']}")
    client.write("PUT", f"{home}/profile", profile)
    return investor


def _answer(investor: Investor, changes: dict[str, Any]) -> Any:
    body = {"answers": _example("answers") | changes}
    path = f"/v1/customers/{investor.customer_id}/answers"
    outcome = investor.client.write("POST", path, body)
    if outcome["decision"] != "proceed":
        message = f"the answers lead to {outcome['decision']}: {outcome['reasons']}"
        raise DemoError(message)
    return outcome


def _open(investor: Investor, basket_id: str) -> None:
    client, home = investor.client, f"/v1/customers/{investor.customer_id}"
    documents = client.get(f"{home}/agreements")["items"]
    wanted = [one for one in documents if one["action"] == "accept" and one["required"]]
    signed = [
        {"agreement_id": one["id"], "version": one["version"], "sha256": one["sha256"]}
        for one in wanted
    ]
    client.write("POST", f"{home}/acceptances", {"acceptances": signed})
    print(f"    accepted: {', '.join(one['title'] for one in wanted)}")
    body = {"customer_id": investor.customer_id, "kind": "individual", "basket_id": basket_id}
    investor.account_id = client.write("POST", "/v1/accounts", body)["id"]


def _deposit(investor: Investor, amount: str) -> None:
    client = investor.client
    body = {"routing_number": _ROUTING, "account_number": _BANK_ACCOUNT}
    path = f"/v1/customers/{investor.customer_id}/bank-links"
    investor.link_id = client.write("POST", path, body)["id"]
    order = {"amount": amount, "bank_link_id": investor.link_id}
    made = client.write("POST", f"{investor.path}/deposits", order)
    print(f"    deposit of {made['amount']}: {made['state']}")


def _told_orders(investor: Investor) -> list[Any]:
    orders = investor.orders()
    for order in orders:
        print(
            f"    {order['side']} {order['symbol']:6} {order['filled_notional']:>7} = "
            f"{order['filled_shares']:>12} shares at {order['average_price']:>11}  {order['state']}"
        )
    return orders


def _checked_portfolio(investor: Investor, checks: Checks) -> Any:
    """Return the portfolio after computing it again from the prices served."""
    portfolio = investor.portfolio()
    held = [row for row in portfolio["holdings"] if Decimal(row["shares"])]
    symbols = ",".join(row["symbol"] for row in held)
    told = investor.client.get(f"/v1/prices?symbols={symbols}")
    price = {row["symbol"]: row["price"] for row in told["items"]}
    values = [dollars(row["shares"], price[row["symbol"]]) for row in held]
    cash = Decimal(portfolio["cash"]["total"])
    nav = sum(values, cash)
    same = [Decimal(row["value"]) for row in held] == values
    checks.that(same, f"{len(held)} positions are shares times price ({told['source']})")
    checks.that(nav == Decimal(portfolio["nav"]), f"they and {cash} of cash make {nav}")
    return portfolio


def _example(name: str) -> Any:
    return json.loads((_EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def _say(sentence: str) -> None:
    print(f"\n{sentence}", flush=True)

"""A client generated from `openapi.json` does the main job, from sign-up to ten positions.

What is generated is imported and used as a stranger would: its models are made from the documented
examples, and everything it gets back must parse into its models.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from story import BANK_NUMBER, PASSWORD, ROUTING, Ground, example, standing

from robo.core.clock import to_micros
from robo.core.market_calendar import MarketCalendar
from robo.store import jobs
from scheduler.timelapse import Timelapse

DOCUMENT = Path(__file__).parents[2] / "openapi.json"
PACKAGE = "generated_robo_client"
CONFIG = (
    f"post_hooks: []\npackage_name_override: {PACKAGE}\n"
    "content_type_overrides:\n  text/csv: application/octet-stream\n"
)
"""Without hooks: they would format the package, and look for tools that need not be there. A CSV
body is a file like any other: the generator knows no name for it."""


@pytest.fixture(scope="module")
def ground(
    tmp_path_factory: pytest.TempPathFactory, short_calendar: MarketCalendar
) -> Iterator[Ground]:
    with standing(tmp_path_factory.mktemp("client") / "state", short_calendar) as made:
        yield made


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the client and make it importable."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yaml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "openapi-python-client", "generate"),
            *("--path", DOCUMENT, "--config", folder / "config.yaml", "--meta", "none"),
            *("--output-path", folder / PACKAGE, "--fail-on-warning"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


class Generated:
    """Calls functions of the generated package, and counts what writes."""

    def __init__(self, ground: Ground) -> None:
        self._transport = httpx.WSGITransport(app=ground.app)
        self._keys = count(1)
        self.writes: list[str] = []
        self.client = self._made("Client")

    def as_caller(self, token: str) -> None:
        self.client = self._made("AuthenticatedClient", token=token)

    def ask(self, module: str, /, *path: str, **more: Any) -> Any:
        """Call a function and return what its reply was parsed into."""
        return self._call(module, path, more)

    def write(self, module: str, model: str = "", sent: Any = None, /, *path: str) -> Any:
        """Call a function that writes, with a body made by the model and an idempotency key."""
        self.writes.append(module)
        more: dict[str, Any] = {}
        if model:
            more["body"] = self.model(model).from_dict(sent)
        if "idempotency_key" in self._function(module).__annotations__:
            more["idempotency_key"] = f"generated-{next(self._keys):04d}"
        return self._call(module, path, more)

    @staticmethod
    def model(name: str) -> Any:
        return getattr(import_module(f"{PACKAGE}.models"), name)

    def _call(self, module: str, path: tuple[str, ...], more: dict[str, Any]) -> Any:
        reply = self._function(module)(*path, client=self.client, **more)
        assert 200 <= reply.status_code < 300, (module, reply.content)
        assert reply.parsed is not None, module
        assert reply.parsed.to_dict().keys() == json.loads(reply.content).keys(), module
        assert not getattr(reply.parsed, "additional_properties", {}), module
        return reply.parsed

    @staticmethod
    def _function(module: str) -> Callable[..., Any]:
        found: Callable[..., Any] = import_module(f"{PACKAGE}.api.{module}").sync_detailed
        return found

    def _made(self, kind: str, **more: Any) -> Any:
        maker = getattr(import_module(PACKAGE), kind)
        return maker(
            base_url="http://localhost",
            httpx_args={"transport": self._transport},
            raise_on_unexpected_status=True,
            **more,
        )


def test_every_operation_has_a_function(package: Path) -> None:
    document = json.loads(DOCUMENT.read_text())
    operations = [
        one["operationId"]
        for path in document["paths"].values()
        for one in path.values()
        if isinstance(one, dict)
    ]

    functions = {path.stem for path in (package / "api").rglob("*.py")} - {"__init__"}

    print(f"{len(operations)} operations")
    assert sorted(operations) == sorted(functions)


@dataclass
class Story:
    """What the client learnt on its way."""

    refresh_token: str
    customer: str
    account: str
    deposit: str
    basket_id: str


@pytest.mark.usefixtures("package")
def test_a_generated_client_does_the_main_job(ground: Ground) -> None:
    me = Generated(ground)

    story = signed_up_to_deposited(me)
    writes = len(me.writes)
    live_through_two_sessions(ground)
    body = {"refresh_token": story.refresh_token}
    me.as_caller(me.write("sessions.refresh_tokens", "TokenRequest", body).access_token)
    explained = me.ask("baskets.explain_basket", story.basket_id, customer_id=story.customer)
    portfolio = me.ask("portfolio.get_portfolio", story.account)
    deposit = me.ask("transfers.get_deposit", story.account, story.deposit)

    print(f"{writes} writing calls; NAV {portfolio.nav} in {story.basket_id}")
    assert writes <= 8
    assert {one.symbol for one in portfolio.holdings if Decimal(one.shares) > 0} == {
        one.symbol for one in explained.basket.constituents
    }
    assert len(portfolio.holdings) == 10
    assert deposit.state in {"available", "settled"}
    assert portfolio.simulated
    assert portfolio.price_source.startswith("SIM")
    the_cents_add_up(me, story, portfolio)


def signed_up_to_deposited(me: Generated) -> Story:
    """Do everything from sign-up to the deposit."""
    who = {"email": "maya@example.com", "password": PASSWORD}
    me.write("customers.create_customer", "CustomerRequest", who)
    session = me.write("sessions.log_in", "SessionRequest", who)
    me.as_caller(session.access_token)
    customer = session.customer_id
    me.ask("agreements.get_agreement", customer, "form_crs")
    me.write("customers.put_profile", "ProfileRequest", example("profile"), customer)
    answers = {"answers": example("answers")}
    outcome = me.write("questionnaire.submit_answers", "AnswersRequest", answers, customer)
    basket = outcome.recommendation.baskets[0]
    assert basket.sentence
    documents = me.ask("agreements.list_agreements", customer).items
    for one in documents:
        me.ask("agreements.get_agreement", customer, one.id)
    signed = [
        {"agreement_id": one.id, "version": one.version, "sha256": one.sha256}
        for one in documents
        if one.action == "accept"
    ]
    sent = {"acceptances": signed}
    me.write("agreements.accept_agreements", "AcceptancesRequest", sent, customer)
    opening = {"customer_id": customer, "kind": "individual", "basket_id": basket.basket_id}
    account = me.write("questionnaire.open_account", "OpeningRequest", opening).id
    numbers = {"routing_number": ROUTING, "account_number": BANK_NUMBER}
    link = me.write("banks.link_bank", "BankLinkRequest", numbers, customer).id
    wanted = {"bank_link_id": link, "amount": "100.00"}
    deposit = me.write("transfers.create_deposit", "DepositRequest", wanted, account).id
    return Story(session.refresh_token, customer, account, deposit, basket.basket_id)


def the_cents_add_up(me: Generated, story: Story, portfolio: Any) -> None:
    """Recompute every value from the prices served, and every sum from its parts."""
    symbols = ",".join(one.symbol for one in portfolio.holdings)
    served = me.ask("prices.list_prices", symbols=symbols).items
    prices = {one.symbol: Decimal(one.price) for one in served}
    for one in portfolio.holdings:
        exact = Decimal(one.shares) * prices[one.symbol]
        assert Decimal(one.value) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP), one.symbol
    invested, cash = Decimal(portfolio.invested), Decimal(portfolio.cash.total)
    assert sum(Decimal(one.value) for one in portfolio.holdings) == invested
    assert invested + cash == Decimal(portfolio.nav)
    orders = me.ask("orders.list_orders", story.account).items
    paid = sum(Decimal(one.filled_notional) + Decimal(one.fee) for one in orders)
    assert paid + cash == Decimal("100.00")


@pytest.mark.usefixtures("package")
def test_a_refusal_parses_into_the_problem_that_was_promised(ground: Ground) -> None:
    me = Generated(ground)
    function = import_module(f"{PACKAGE}.api.sessions.log_in").sync
    body = me.model("SessionRequest")(email="nobody@example.com", password=PASSWORD)

    problem = function(client=me.client, body=body)

    assert isinstance(problem, me.model("ProblemReply"))
    assert (problem.status, problem.code) == (401, "bad_credentials")


def live_through_two_sessions(ground: Ground) -> None:
    """Run the timetable to the end of the next session, in this process: prices have moved."""
    world = ground.world
    with world.db.write() as session:
        jobs.start_sim_clock(session, to_micros(world.clock.now()))
    Timelapse(world.runtime, world.clock).pass_sessions(2)

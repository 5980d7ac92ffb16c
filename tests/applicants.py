"""People who apply for an account at a broker that keeps one for each customer."""

from datetime import UTC, date, datetime

from robo.ports.brokerage import Application

ANN = Application(
    reference="cus_1",
    email="ann@example.com",
    phone="555-666-7788",
    street=["20 N San Mateo Dr"],
    city="San Mateo",
    state="CA",
    postal_code="94401",
    country="USA",
    given_name="Ann",
    family_name="Doe",
    born_on=date(1990, 1, 1),
    tax_id="666-55-4321",
    tax_country="USA",
    funding_sources=["employment_income"],
    control_person=False,
    finra_affiliated=False,
    politically_exposed=False,
    family_exposed=False,
    agreed_at=datetime(2026, 3, 2, tzinfo=UTC),
    agreed_from="127.0.0.1",
)

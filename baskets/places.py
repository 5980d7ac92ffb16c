"""Turns the head office an encyclopaedia names into a country code."""

US_PLACES = frozenset(
    """
    Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|
    Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|
    Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|
    New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|
    South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|
    Wisconsin|Wyoming|D.C.|Puerto Rico|United States
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)

COUNTRIES = {
    "Bermuda": "BM",
    "Canada": "CA",
    "Ireland": "IE",
    "Israel": "IL",
    "Netherlands": "NL",
    "Singapore": "SG",
    "Switzerland": "CH",
    "United Kingdom": "GB",
}


def country_of(head_office: object) -> str | None:
    """Return the two-letter country of a "city, state or country"; None if it cannot be told."""
    if not isinstance(head_office, str):
        return None
    last = head_office.split(";")[0].rsplit(",", maxsplit=1)[-1].strip()
    return "US" if last in US_PLACES else COUNTRIES.get(last)

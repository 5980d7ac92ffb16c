"""One real server a test process, for all tests that speak to one over sockets."""

from collections.abc import Iterator

import pytest
from live import Live, serving


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("live")) as made:
        yield made

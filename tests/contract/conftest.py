"""What the broker kit's cases assert is explained when it fails, as in any test."""

import pytest

pytest.register_assert_rewrite("broker_adapters.kit")

"""For all tests."""

import services.agent  # noqa: F401  # before any test imports langgraph, whose strict mode it sets
from tests.kept_homes import pytest_runtest_makereport, pytest_runtest_setup  # noqa: F401

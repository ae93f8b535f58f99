"""For all tests."""

import services.agent  # noqa: F401  # before any test imports langgraph, whose strict mode it sets

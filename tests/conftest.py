"""Property tests draw the same examples on every machine, so that a red run can be repeated;
``pytest --hypothesis-profile=explore`` draws new ones."""

from __future__ import annotations

import pytest
from hypothesis import settings

# No deadlines: the first call of a kernel loads or compiles it.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=200)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)  # a worker's plugin reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes (``pytest -n``): a file's tests share one, as they share what its
    fixtures make; and of those that start a Ray, or watch the clock, one runs at a time. Two Rays
    at once would want the same port for their agents, and a head without one takes no jobs.
    """
    for item in items:
        alone = item.get_closest_marker("ray") is not None or "realtime" in item.path.name
        item.add_marker(pytest.mark.xdist_group("alone" if alone else item.path.name))

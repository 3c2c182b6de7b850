"""Property tests draw the same examples on every machine, so that a red run can be repeated;
``pytest --hypothesis-profile=explore`` draws new ones."""

from __future__ import annotations

from hypothesis import settings

# No deadlines: the first call of a kernel loads or compiles it.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=200)
settings.load_profile("repeatable")

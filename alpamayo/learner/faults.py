"""What can happen to learners."""

from __future__ import annotations

from alpamayo.types import CheckFailed


class LearnerLost(CheckFailed):
    """A learner's process died, and with it what was learned since the last checkpoint."""

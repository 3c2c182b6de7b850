"""A page that plays a traced scenario: the replay viewer with the judge's signals of every tick and
the events marked.
"""

from __future__ import annotations

from pathlib import Path

from alpamayo.authoring.trace import Trace
from alpamayo.replay.html import write_html


def write_player(trace: Trace, out: Path) -> Path:
    """One self-contained HTML file."""
    return write_html(out, [trace.replay])

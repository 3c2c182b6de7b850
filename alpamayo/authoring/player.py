"""A page that plays a traced scenario: the replay viewer with the judge's signals of every tick and
the events marked.
"""

from __future__ import annotations

from pathlib import Path

from alpamayo.authoring.trace import Trace
from alpamayo.replay.html import Notes, write_html


def notes_of(trace: Trace) -> Notes:
    """Curves are cut off at their upper end, which also stands for nobody near."""
    return Notes(
        trace.time_s.tolist(),
        {
            "Time to collision [s]": (trace.ttc_s.tolist(), 8.0),
            "Gap to the nearest [m]": (trace.gap_m.tolist(), 30.0),
        },
        [(f.time_s, f.letter, f.text) for f in trace.fired],
    )


def write_player(trace: Trace, out: Path) -> Path:
    """One self-contained HTML file."""
    return write_html(out, [trace.replay], notes=[notes_of(trace)])

"""Storyboards, contact sheets and pages that play: what they show is what was driven."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo.authoring.canvas import Canvas, shortened, text_width, wrapped
from alpamayo.authoring.contact import draw_contact_sheet
from alpamayo.authoring.describe import action_text, event_text, trigger_text
from alpamayo.authoring.overview import Overview
from alpamayo.authoring.player import write_player
from alpamayo.authoring.storyboard import WIDTH, draw_storyboard
from alpamayo.authoring.trace import Trace, key_times, trace_all
from alpamayo.types import Action, EventSpec, RequestError, Trigger
from scenarios.load import load_document
from scenarios.sample import sample


@pytest.fixture(scope="module")
def trace() -> Trace:
    return trace_all([sample(load_document("cut_in"), 0)], "constant_speed")[0]


def test_key_times_are_start_end_closest_and_events_then_the_middle_of_gaps() -> None:
    assert key_times(0.0, 8.0, [3.0], 6.0, 4) == [0.0, 3.0, 6.0, 8.0]
    assert key_times(0.0, 8.0, [], None, 5) == [0.0, 2.0, 4.0, 6.0, 8.0]
    # 7.9 s is the end's picture already, 9 s is after the end.
    assert key_times(0.0, 8.0, [7.9, 9.0], None, 3) == [0.0, 4.0, 8.0]


def test_every_tick_is_kept_and_decisions_agree_with_the_replay(trace: Trace) -> None:
    ego, decided = trace.ticks.columns["ego"], trace.replay.columns["ego"]
    assert np.allclose(np.diff(ego[:, 4]), 0.1) and len(ego) == len(trace.time_s) + 1
    for row in decided:
        k = int(np.argmin(np.abs(ego[:, 4] - row[4])))
        assert np.array_equal(ego[k], row)
    result = trace.replay.header.result
    assert trace.ttc_s.min() == pytest.approx(result.min_ttc_s)
    assert trace.gap_m.min() == pytest.approx(result.min_gap_m)
    assert trace.closest_s == pytest.approx(result.duration_s, abs=0.11)  # it ends in a crash


def test_events_are_marked_when_their_trigger_first_holds(trace: Trace) -> None:
    # The cutter moves over once the bumpers are gap_m = 10.9 m apart; both keep their speed before.
    scenario = trace.scenario
    values = scenario.parameters
    (first, *_) = trace.fired
    assert (first.letter, first.actor) == ("A", "cutter")
    assert first.time_s == pytest.approx(values["until_s"], abs=0.2)
    assert "cutter: offset to -3.5 m" in first.text and "(distance 10.9" in first.text


def test_triggers_and_actions_read_with_units() -> None:
    event = EventSpec("", Trigger("after", 2.0, event=0), (Action("friction", value=0.3),))
    assert (
        trigger_text(event) == "2 s after event 0"
        and action_text(event.actions[0]) == "friction 0.3"
    )
    assert action_text(Action("speed", speed_mps=0.0, accel_mps2=6.0)) == "speed 0 m/s, 6 m/s2"
    assert action_text(Action("vanish")) == "vanish"
    scenario = sample(load_document("left_turn_across_path"), 0)
    assert event_text(scenario, 0).startswith("turner: run_light")


def test_text_is_cut_and_wrapped_to_its_width() -> None:
    assert shortened("a short one", 16, 500) == "a short one"
    cut = shortened("a very long one indeed", 16, 90)
    assert cut.endswith("...") and text_width(cut, 16) <= 90
    lines = wrapped("one two three four five six seven", 16, 90, 2)
    assert len(lines) == 2 and all(text_width(line, 16) <= 90 for line in lines)


def test_the_overview_holds_everybodys_way(trace: Trace) -> None:
    overview = Overview(trace, 1000, 250)
    places = overview._place(overview._framed())
    assert (places > 0).all() and (places < [1000, 250]).all()
    start, end = overview._place(trace.ticks.columns["ego"][[0, -1], :2])
    assert end[0] > start[0] and abs(end[1] - start[1]) < 1.0  # straight on, to the right


def test_a_storyboard_says_who_drove_and_shows_ego_in_each_panel(trace: Trace) -> None:
    image = np.asarray(draw_storyboard(trace, "Somebody cuts in.").image)
    assert image.shape[1] == WIDTH
    ego = (np.abs(image.astype(int) - (37, 99, 201)).sum(axis=2) < 30).sum(axis=1)
    bands = np.flatnonzero(np.diff((ego > 12).astype(int)) == 1)
    assert len(bands) >= 3  # the overview and two rows of panels


def test_a_contact_sheet_has_a_tile_per_draw() -> None:
    document = load_document("hard_lead_brake")
    traces = trace_all([sample(document, seed) for seed in range(4)], "constant_speed")
    one, all_four = (draw_contact_sheet(document, part).image for part in (traces[:1], traces))
    assert one.width == all_four.width and all_four.height > one.height  # three in a row
    tile = one.crop((0, 84, 400, one.height))
    assert tile.tobytes() == all_four.crop((0, 84, 400, one.height)).tobytes()


def test_the_page_carries_every_ticks_signals_and_the_events(trace: Trace, tmp_path: Path) -> None:
    text = write_player(trace, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http://" not in text and "https://" not in text
    packed = re.search(r'id="data">([^<]+)<', text)
    assert packed is not None
    data: Any = json.loads(zlib.decompress(base64.b64decode(packed.group(1))))
    (shown,) = data["replays"]
    assert shown["policy"] == "constant_speed" and shown["marks"][0]["letter"] == "A"
    assert len(shown["ttc"]) == len(trace.time_s) and shown["ttc"][-1][1] < 0.2
    assert max(value for _, value in shown["ttc"]) <= shown["tops"][0] == 8.0


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"ends with \.png"):
        Canvas(4, 4).save(tmp_path / "x.jpg")
    with pytest.raises(RequestError, match="expected a writable place"):
        Canvas(4, 4).save(tmp_path / "nowhere" / "x.png")
    assert list(tmp_path.iterdir()) == []

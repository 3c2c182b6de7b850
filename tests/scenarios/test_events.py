"""Events in scenario files: every trigger and action, chains of events, and what makes no sense."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from alpamayo import types
from scenarios.load import load_file
from scenarios.sample import sample
from scenarios.schema_actors import CONDITIONS, Action
from tests.scenarios.conftest import Write, problems

HEAD = """\
schema_version: 1
id: e
family: e
description: x
parameters: {p: {choice: [4]}, side: {choice: [left]}, mode: {choice: [dark]}}
road: {kind: straight, lanes: 2}
ego: {lane: 0}
actors:
  - {id: car, lane: 1, ahead_m: 20}
  - {id: box, kind: debris, lane: 1, ahead_m: 40}
  - {id: walker, kind: pedestrian, lane: 0, ahead_m: 60, d_m: -4, goal_d_m: 4}
  - {id: door, kind: door, parent: car}
"""


def text(*events: str, head: str = HEAD) -> str:
    return head + "events:\n" + "".join(f"  - {{{event}}}\n" for event in events)


def draw(write: Write, *events: str, head: str = HEAD, seed: int = 0) -> types.Scenario:
    return sample(load_file(write("e", text(*events, head=head))), seed)


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [
        ("time_s: $p", types.Trigger("time", 4.0)),
        ("distance_m: 5", types.Trigger("distance", 5.0)),
        ("ttc_s: 2", types.Trigger("ttc", 2.0)),
        ("ego_position_m: 60", types.Trigger("ego_position", 60.0)),
        ("arrival_s: 3", types.Trigger("arrival", 3.0)),
        ("headway_s: $p / 4", types.Trigger("headway", 1.0)),
        ("ego_speed_mps: 10", types.Trigger("ego_speed", 10.0)),
        ("actor_speed_mps: $p", types.Trigger("actor_speed", 4.0)),
    ],
)
def test_every_trigger_has_a_word(write: Write, trigger: str, expected: types.Trigger) -> None:
    drawn = draw(write, f"actor: car, trigger: {{{trigger}}}, actions: [vanish: true]")
    assert drawn.events[0].trigger == expected


@pytest.mark.parametrize(
    ("actor", "action", "expected"),
    [
        ("car", "speed: {speed_mps: -2}", types.Action("speed", speed_mps=-2.0)),
        ("car", "offset: {d_m: 1, lateral_mps: 2}",
         types.Action("offset", d_m=1.0, lateral_mps=2.0)),
        ("car", "run_light: true", types.Action("run_light")),
        ("car", "react: {speed_mps: 9}", types.Action("react", speed_mps=9.0)),
        ("car", "lane_change: {to: $side}", types.Action("lane_change", value=1.0)),
        ("car", "lane_change: {to: right, lateral_mps: $p}",
         types.Action("lane_change", value=-1.0, lateral_mps=4.0)),
        ("door", "open_door: {angle_rad: 0.9, edge_mps: 2}",
         types.Action("open_door", value=0.9, lateral_mps=2.0)),
        ("walker", "stand: {speed_mps: $p / 2}", types.Action("stand", speed_mps=2.0)),
        ("box", "vanish: true", types.Action("vanish")),
        ("car", "indicator: hazard", types.Action("indicator", value=2.0)),
        ("car", "indicator: right", types.Action("indicator", value=-1.0)),
        ("car", "friction: $p / 10", types.Action("friction", value=0.4)),
    ],
)  # fmt: skip
def test_every_action_has_a_word(
    write: Write, actor: str, action: str, expected: types.Action
) -> None:
    drawn = draw(write, f"actor: {actor}, trigger: {{time_s: 1}}, actions: [{action}]")
    assert drawn.events == (types.EventSpec(actor, types.Trigger("time", 1.0), (expected,)),)


def test_signals_change_without_an_actor(write: Write) -> None:
    head = HEAD.split("actors:")[0].replace("kind: straight, lanes: 2", "kind: junction")
    head = head.replace("lane: 0", "path: south_north")
    drawn = draw(write, "trigger: {time_s: 1}, actions: [signal: $mode]", head=head)
    action = types.Action("signal", mode="dark")
    assert drawn.events == (types.EventSpec("", types.Trigger("time", 1.0), (action,)),)


def test_no_trigger_or_action_of_the_simulator_is_left_out(write: Write) -> None:
    kinds = set(get_args(get_type_hints(types.Trigger)["kind"]))
    assert len(CONDITIONS) == len(kinds)
    spoken = "actor: car, trigger: {time_s: 1}, actions: [{follow_path: {path: lane0}}]"
    world = "trigger: {time_s: 1}, actions: [{friction_patch: {from_m: 1, to_m: 2, friction: 1}}]"
    drawn = draw(write, spoken, world)
    said = {action.kind for event in drawn.events for action in event.actions}
    kinds = set(get_args(get_type_hints(types.Action)["kind"]))
    assert kinds - said <= set(Action.model_fields), "the others have the same word"


def test_an_event_may_wait_for_another(write: Write) -> None:
    drawn = draw(
        write,
        "actor: car, trigger: {after: {event: brake, delay_s: $p}}, actions: [indicator: left]",
        "id: brake, actor: car, trigger: {time_s: 1}, actions: [speed: {speed_mps: 0}]",
        "trigger: {after: {event: brake}}, actions: [friction: 0.3]",
    )
    triggers = [event.trigger for event in drawn.events]
    assert triggers[0] == types.Trigger("after", 4.0, 1)
    assert triggers[2] == types.Trigger("after", 0.0, 1)
    assert drawn.events[2].actor == ""


def test_what_waits_for_an_absent_actor_never_happens(write: Write) -> None:
    """Numbers of events count those that are left."""
    head = HEAD.replace("lane: 1, ahead_m: 20", "lane: 1, ahead_m: 20, probability: 0.5")
    events = (
        "id: first, actor: car, trigger: {time_s: 1}, actions: [indicator: left]",
        "id: second, actor: walker, trigger: {after: {event: first}}, actions: [stand: {}]",
        "actor: walker, trigger: {after: {event: second}}, actions: [vanish: true]",
        "id: fourth, actor: box, trigger: {time_s: 2}, actions: [vanish: true]",
        "actor: box, trigger: {after: {event: fourth}}, actions: [appear: true]",
    )
    counts = set()
    for seed in range(20):
        drawn = draw(write, *events, head=head, seed=seed)
        there = drawn.actors[0].id == "car"
        counts.add(len(drawn.events))
        assert [e.actor for e in drawn.events][-2:] == ["box", "box"]
        assert drawn.events[-1].trigger.event == (3 if there else 0)
        assert len(drawn.events) == (5 if there else 2)
    assert counts == {2, 5}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            "actor: car, trigger: {headway: 1}, actions: [vanish: true]",
            "14:28: events.0.trigger.headway: unknown key; did you mean headway_s?",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [lane_chnge: {to: left}]",
            "events.0.actions.0.lane_chnge: unknown key; did you mean lane_change?",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [lane_change: {to: up}]",
            "events.0.actions.0.lane_change.to: expected one of left, right, got up",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [indicator: lft]",
            "events.0.actions.0.indicator: expected one of off, left, right, hazard, got lft; did",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [friction: 3]",
            "events.0.actions.0.friction: expected a number of at least 0.05 and at most 1.5, got",
        ),
        (
            "actor: door, trigger: {time_s: 1}, actions: [open_door: {angle_rad: 2}]",
            "open_door.angle_rad: expected a number of at least 0 and at most 1.6 rad, got 2 rad",
        ),
        (
            "trigger: {distance_m: 4}, actions: [friction: 0.4]",
            "events.0.trigger.distance_m: distance_m needs the event's actor",
        ),
        (
            "trigger: {time_s: 4}, actions: [{friction: 0.4, signal: dark}]",
            "events.0.actions.0: expected exactly one of speed, speed_profile,",
        ),
        (
            "trigger: {time_s: 4}, actions: [{friction: 0.4}, {vanish: true}]",
            "events.0.actions.1.vanish: vanish needs the event's actor",
        ),
        (
            "trigger: {time_s: 4}, actions: [signal: dark]",
            "events.0.actions.0.signal: the road has no signals",
        ),
        (
            "trigger: {time_s: 4}, actions: [signal: drak]",
            "actions.0.signal: expected one of cycle, dark, flashing, stuck_red, stuck_green, got",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [open_door: {}]",
            "events.0.actions.0.open_door: only a door opens, and does nothing else; car is a car",
        ),
        (
            "actor: door, trigger: {time_s: 1}, actions: [speed: {speed_mps: 2}]",
            "actions.0.speed: only a door opens, and does nothing else; door is a door",
        ),
        (
            "actor: box, trigger: {time_s: 1}, actions: [speed: {speed_mps: 2}]",
            "events.0.actions.0.speed: box never moves; its behaviour is static",
        ),
        (
            "actor: car, trigger: {time_s: 1}, actions: [stand: {}]",
            "events.0.actions.0.stand: only behaviour walk stands and walks on; car has idm",
        ),
        (
            "actor: walker, trigger: {time_s: 1}, actions: [lane_change: {to: left}]",
            "events.0.actions.0.lane_change: expected a vehicle; walker is a pedestrian",
        ),
        (
            "actor: car, trigger: {after: {event: nothing}}, actions: [vanish: true]",
            "events.0.trigger.after.event: unknown event nothing; events with an id: none",
        ),
        (
            "id: one, actor: car, trigger: {after: {event: oen}}, actions: [vanish: true]",
            "events.0.trigger.after.event: unknown event oen; did you mean one?",
        ),
        (
            "id: one, actor: car, trigger: {after: {event: one}}, actions: [vanish: true]",
            "events.0.trigger.after.event: waits for itself by way of one, so it never happens",
        ),
        (
            "actor: car, trigger: {after: {delay_s: 2}}, actions: [vanish: true]",
            "events.0.trigger.after.event: missing",
        ),
        (
            "actor: car, trigger: {after: {event: x}, time_s: 2}, actions: [vanish: true]",
            "events.0.trigger: expected exactly one of time_s, distance_m,",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(write: Write, event: str, expected: str) -> None:
    found = problems(write("e", text(event)))
    assert all(p.startswith("14:") for p in found) and any(expected in p for p in found), found


def test_events_that_wait_for_each_other_and_double_ids_are_refused(write: Write) -> None:
    path = write(
        "e",
        text(
            "id: one, actor: car, trigger: {after: {event: two}}, actions: [vanish: true]",
            "id: two, actor: car, trigger: {after: {event: one}}, actions: [appear: true]",
            "id: two, actor: car, trigger: {time_s: 3}, actions: [appear: true]",
            "actor: car, trigger: {after: {event: one}}, actions: [indicator: off]",
        ),
    )
    assert problems(path) == [
        "14:45: events.0.trigger.after.event: waits for itself by way of two, so it never happens",
        "15:45: events.1.trigger.after.event: waits for itself by way of one, so it never happens",
        "16:6: events.2.id: duplicate event id: two is also events.1",
    ]

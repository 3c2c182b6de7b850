"""Constraints, grids, combined triggers, what is so from the start, and words that are short for
others."""

from __future__ import annotations

import math
from typing import Any

import pytest

from alpamayo.types import Action, Condition, EventSpec, Fault, Scenario, Trigger, WeatherChange
from scenarios.load import load_file
from scenarios.parameters import draw_parameters, uniforms
from scenarios.sample import sample
from tests.scenarios.conftest import Write, problems
from tests.scenarios.test_events import HEAD, draw, text

RIDERS = HEAD + "  - {id: rider, kind: cyclist, lane: 1, ahead_m: 70, speed_mps: 4}\n"


def with_parameters(write: Write, parameters: str, constraints: str = "[]") -> Any:
    body = HEAD.replace("{p: {choice: [4]},", f"{{p: {{choice: [4]}}, {parameters},")
    return write("e", body + f"constraints: {constraints}\n")


# --------------------------------------------------------------------------------------
# Parameters
# --------------------------------------------------------------------------------------
def test_draws_that_break_a_constraint_are_drawn_again(write: Write) -> None:
    both = "a: {uniform: [0, 1]}, b: {uniform: [0, 1]}"
    free = load_file(with_parameters(write, both))
    bound = load_file(with_parameters(write, both, '["$a + $b > 1.2", "$a < 0.9 or $p == 4"]'))
    kept = 0
    for seed in range(60):
        first, values = draw_parameters(free, seed), draw_parameters(bound, seed)
        assert values["a"] + values["b"] > 1.2
        if first["a"] + first["b"] > 1.2:
            assert values == first, "a draw that meets them stays as it is"
            kept += 1
        else:
            assert values["a"] != first["a"] and values["b"] != first["b"]
        assert values == draw_parameters(bound, seed)
    assert 8 <= kept <= 32, "P(a + b > 1.2) is 0.32"


def test_the_draws_of_other_attempts_are_streams_of_their_own() -> None:
    names = ["a", "a attempt 1", "b", "b attempt 1"]
    assert len(set(uniforms(3, names).values())) == 4


def test_constraints_compare_texts_too(write: Write) -> None:
    choice = "kind: {choice: [car, truck]}, gap: {uniform: [5, 20]}"
    document = load_file(with_parameters(write, choice, "[\"$kind != 'truck' or $gap >= 12\"]"))
    drawn = [draw_parameters(document, seed) for seed in range(80)]
    assert all(v["gap"] >= 12 for v in drawn if v["kind"] == "truck")
    assert any(v["gap"] < 12 for v in drawn) and any(v["kind"] == "truck" for v in drawn)


@pytest.mark.parametrize(
    ("parameters", "constraint", "expected"),
    [
        (
            "a: {uniform: [0, 1]}",
            "$a > 2",
            'constraints.0: cannot be met: "$a > 2" held in 0 of 1000 draws of seed ',
        ),
        ("a: {uniform: [0, 1]}", "$a", "constraints.0: \"$a\": expected a comparison with < <="),
        ("a: {uniform: [0, 1]}", "1 > 0", "expected a comparison of $parameters"),
        ("a: {uniform: [0, 1]}", "$a > ", 'expected a comparison such as "$gap_m > 2 * $ego_mps"'),
        ("apple: {uniform: [0, 1]}", "$appel > 0", "unknown parameter $appel; did you mean apple?"),
        ("a: {choice: [x]}", "$a > 1", "expected two numbers or two texts, got x and 1"),
    ],
)  # fmt: skip
def test_constraints_that_make_no_sense_or_cannot_be_met_say_so(
    write: Write, parameters: str, constraint: str, expected: str
) -> None:
    found = problems(with_parameters(write, parameters, f'["{constraint}"]'))
    assert any(expected in p for p in found), found


def test_grids_go_through_every_combination(write: Write) -> None:
    grids = "a: {grid: [1, 2, 3]}, b: {grid: [x, y]}, c: {uniform: [0, 1]}"
    document = load_file(with_parameters(write, grids))
    drawn = [draw_parameters(document, seed) for seed in range(12)]
    cells = [(v["a"], v["b"]) for v in drawn]
    assert cells[:6] == [(1, "x"), (2, "x"), (3, "x"), (1, "y"), (2, "y"), (3, "y")]
    assert cells[6:] == cells[:6]
    assert len({v["c"] for v in drawn}) == 12, "the rest is drawn as ever"


# --------------------------------------------------------------------------------------
# Triggers
# --------------------------------------------------------------------------------------
def test_triggers_combine_and_speak_of_other_actors(write: Write) -> None:
    drawn = draw(
        write,
        "id: one, actor: car, trigger: {all: [{distance_m: 20}, {ego_at_most_mps: 9}]}, "
        "actions: [run_light: true]",
        "actor: car, trigger: {any: [{time_s: $p}, {all: [{ttc_s: 2, actor: walker}, "
        "{after: {event: one, delay_s: 1}}]}, {actor_position_m: 70}]}, actions: [run_light: true]",
        "actor: car, trigger: {distance_m: 9, actor: walker}, actions: [run_light: true]",
    )
    assert [event.trigger for event in drawn.events] == [
        Trigger("all", parts=(Condition("distance", 20.0), Condition("ego_at_most", 9.0))),
        Trigger(
            "any",
            parts=(
                Condition("time", 4.0),
                Condition("all"),
                Condition("ttc", 2.0, actor="walker", whole=1),
                Condition("after", 1.0, event=0, whole=1),
                Condition("actor_position", 70.0),
            ),
        ),
        Trigger("all", parts=(Condition("distance", 9.0, actor="walker"),)),
    ]


def test_parts_about_someone_absent_drop_out_and_so_does_what_needs_them(write: Write) -> None:
    head = HEAD.replace("kind: debris, lane: 1", "kind: debris, probability: 0, lane: 1")
    drawn = draw(
        write,
        "actor: car, trigger: {any: [{time_s: 3}, {distance_m: 5, actor: box}]}, "
        "actions: [run_light: true]",
        "actor: car, trigger: {all: [{time_s: 3}, {distance_m: 5, actor: box}]}, "
        "actions: [run_light: true]",
        head=head,
    )
    assert [e.trigger for e in drawn.events] == [Trigger("any", parts=(Condition("time", 3.0),))]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("time_s: 12", "trigger: can never happen: its earliest time is 12 s, the episode ends at"),
        ("all: [{time_s: 3}, {ego_speed_mps: 70}]", "can never happen: nobody drives 70 m/s"),
        ("any: [{time_s: 13}, {ego_position_m: 900}]", "can never happen: its earliest time is 13"),
        ("ego_position_m: 900", "can never happen: ego's route ends 290 m after its start"),
        ("actor_speed_mps: 3, actor: box", "can never happen: box never moves"),
        ("all: [{distance_m: 3, actor: bix}]", "trigger.all.0.actor: unknown actor bix; did you"),
        ("any: [{after: {event: nothing}}]", "trigger.any.0.after.event: unknown event nothing"),
        ("all: []", "trigger.all: expected at least 1 items"),
        ("any: [{time_s: 1, ttc_s: 2}]", "trigger.any.0: expected exactly one of time_s, "),
        ("any: [{tme_s: 1}]", "trigger.any.0.tme_s: unknown key; did you mean time_s?"),
    ],
)
def test_triggers_that_make_no_sense_say_so(write: Write, event: str, expected: str) -> None:
    found = problems(
        write("e", text(f"actor: car, trigger: {{{event}}}, actions: [run_light: true]"))
    )
    assert any(expected in p for p in found), found


def test_waiting_for_itself_in_one_of_several_ways_is_fine(write: Write) -> None:
    ways = "id: one, actor: car, trigger: {any: [{time_s: 2}, {after: {event: one}}]}, "
    assert len(draw(write, ways + "actions: [run_light: true]").events) == 1
    found = problems(write("e", text(ways.replace("any", "all") + "actions: [run_light: true]")))
    assert "waits for itself by way of one, so it never happens" in found[0]


def test_an_event_that_some_draws_let_happen_is_no_mistake(write: Write) -> None:
    head = HEAD.replace("p: {choice: [4]}", "p: {choice: [4, 40]}")
    assert draw(write, "trigger: {time_s: $p}, actions: [friction: 0.5]", head=head).events


# --------------------------------------------------------------------------------------
# Actions
# --------------------------------------------------------------------------------------
def does(drawn: Scenario) -> list[EventSpec]:
    return list(drawn.events)


T1 = Trigger("time", 1.0)


@pytest.mark.parametrize(
    ("actor", "action", "expected"),
    [
        ("car", "brake: {}", [Action("speed", speed_mps=0.0, accel_mps2=6.0)]),
        ("car", "brake: {decel_mps2: 8, to_mps: $p}",
         [Action("speed", speed_mps=4.0, accel_mps2=8.0)]),
        ("car", "reverse: {speed_mps: 3}", [Action("speed", speed_mps=-3.0, accel_mps2=2.0)]),
        ("car", "speed: {speed_mps: 5, in_s: 2}", [Action("speed", speed_mps=5.0, in_s=2.0)]),
        ("rider", "cross: {to_d_m: 5}", [Action("offset", d_m=5.0, lateral_mps=1.34)]),
        ("rider", "fall: true", [Action("fall")]),
        ("car", "follow_path: {path: lane0}", [Action("follow", path="lane0")]),
        ("car", "friction_patch: {from_m: 10, to_m: 20, friction: 0.2}",
         [Action("patch", patch=(10.0, 20.0, 0.2))]),
        ("car", "weather: {fog_m: 40, over_s: 3}",
         [Action("weather", weather=WeatherChange(fog_m=40.0, over_s=3.0))]),
        ("car", "weather: {rain: 1, friction: 0.6}",
         [Action("weather", weather=WeatherChange(rain=1.0)), Action("friction", value=0.6)]),
    ],
)  # fmt: skip
def test_words_that_are_short_for_others(
    write: Write, actor: str, action: str, expected: list[Action]
) -> None:
    event = f"actor: {actor}, trigger: {{time_s: 1}}, actions: [{action}]"
    drawn = draw(write, event, head=RIDERS)
    assert does(drawn) == [EventSpec(actor, T1, tuple(expected))]


def test_a_profile_of_speeds_is_a_chain_of_events(write: Write) -> None:
    drawn = draw(
        write,
        "actor: car, trigger: {time_s: 1}, actions: [speed_profile: [{speed_mps: 3, in_s: 2}, "
        "{speed_mps: 8, in_s: $p}, {speed_mps: 0, in_s: 1}]]",
        "actor: car, trigger: {time_s: 2}, actions: [indicator: left]",
    )
    assert does(drawn)[0] == EventSpec("car", T1, (Action("speed", speed_mps=3.0, in_s=2.0),))
    assert does(drawn)[2:] == [
        EventSpec("car", Trigger("after", 2.0, 0), (Action("speed", speed_mps=8.0, in_s=4.0),)),
        EventSpec("car", Trigger("after", 6.0, 0), (Action("speed", speed_mps=0.0, in_s=1.0),)),
    ]


def test_who_swerves_comes_back_once_it_has_been_out(write: Write) -> None:
    head = HEAD.replace("{id: car, lane: 1, ahead_m: 20}", "{id: car, lane: 1, ahead_m: 9, d_m: 1}")
    swerve = "{swerve: {d_m: -3, lateral_mps: 2, hold_s: 1}}"
    drawn = draw(write, f"actor: car, trigger: {{time_s: 1}}, actions: [{swerve}]", head=head)
    out, back = does(drawn)
    assert out.actions == (Action("offset", d_m=-3.0, lateral_mps=2.0),)
    # 4 m at 2 m/s, half a second to start and to end, 1 s outside
    assert back.trigger == Trigger("after", 3.5, 0)
    assert back.actions == (Action("offset", d_m=1.0, lateral_mps=2.0),)


def test_sensors_break_and_the_planner_slows_down_by_events(write: Write) -> None:
    drawn = draw(
        write,
        "actor: car, trigger: {time_s: 0.5}, actions: [run_light: true]",
        "trigger: {time_s: 1}, actions: [{sensor_fault: {kind: dirty, camera: front, amount: 0.3, "
        "for_s: 2}}, {latency: {extra_s: 0.4}}]",
        head=HEAD + "faults: [{kind: dead, start_s: 3}]\n",
    )
    assert drawn.events[1] == EventSpec("", T1, ())
    assert drawn.faults == (
        Fault("dead", start_s=3.0),
        Fault("dirty", "front", 0.3, 0.0, 2.0, event=1),
        Fault("latency", "all", 0.4, 0.0, math.inf, event=1),
    )


def test_what_is_so_from_the_start(write: Write) -> None:
    init = "init: [{actor: box, actions: [vanish: true]}, {actions: [weather: {fog_m: 50}]}]\n"
    appear = "actor: box, trigger: {time_s: 2}, actions: [appear: true]"
    drawn = draw(write, appear, head=HEAD + init)
    start = Trigger("time", 0.0)
    fog = Action("weather", weather=WeatherChange(fog_m=50.0))
    assert does(drawn) == [
        EventSpec("box", Trigger("time", 2.0), (Action("appear"),)),
        EventSpec("box", start, (Action("vanish"),)),
        EventSpec("", start, (fog,)),
    ]
    twin = "schema_version: 1\nid: t\nextends: e\nwithout: [box]\n"
    assert [e.actor for e in sample(load_file(write("t", twin)), 0).events] == [""]


@pytest.mark.parametrize(
    ("actor", "action", "expected"),
    [
        ("car", "fall: true", "fall: expected one of pedestrian, cyclist, motorcycle, animal; car"),
        ("car", "cross: {to_d_m: 4}", "cross: expected someone on foot, a cyclist, an animal or a"),
        ("car", "follow_path: {path: lane7}", "follow_path.path: the road has no path lane7; did"),
        ("walker", "reverse: {}", "reverse: expected a vehicle; walker is a pedestrian"),
        (
            "car",
            "speed: {speed_mps: 1, in_s: 2, accel_mps2: 1}",
            "expected accel_mps2 or in_s, got",
        ),
        ("car", "brake: {decel_mps2: 16}", "at most 15 m/s2, got 16 m/s2"),
        ("car", "weather: {}", "weather: expected at least one of fog_m, rain, snow, glare, light"),
        ("car", "weather: {over_s: 2}", "weather: expected at least one of fog_m, rain"),
        ("car", "sensor_fault: {kind: latency}", "sensor_fault.kind: expected one of dead, frozen"),
        ("car", "sensor_fault: {kind: dirty}", "sensor_fault.amount: missing; dirty needs one"),
        (
            "car",
            "sensor_fault: {kind: pose_noise, amount: 2000}",
            "0 to 1000 m for pose_noise, got",
        ),
        (
            "car",
            "latency: {extra_s: 0}",
            "extra_s: expected a number above 0 and at most 10 s, got",
        ),
        ("car", "speed_profile: [{speed_mps: 3}]", "speed_profile.0.in_s: missing"),
        ("box", "appear: true", "appear: box is there all the time; expected vanish in init or in"),
    ],
)
def test_actions_that_make_no_sense_say_so(
    write: Write, actor: str, action: str, expected: str
) -> None:
    event = f"actor: {actor}, trigger: {{time_s: 1}}, actions: [{action}]"
    found = problems(write("e", text(event, head=RIDERS)))
    assert any(expected in p for p in found), found


# --------------------------------------------------------------------------------------
# Places
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("lane: 1, ahead_m: 22", "10:38: actors.1.ahead_m: box starts inside car for some draws"),
        ("lane: 1, s_m: 52", "actors.1.s_m: box starts inside car for some draws"),
        ("lane: 0, ahead_m: 22, d_m: 3", "box starts inside car for some draws (its middle +2.0 m"),
        ("lane: 0, ahead_m: 2", "box starts inside ego (2.0 m ahead of it) for some draws"),
        ("lane: 0, ahead_m: 360", "box starts off the map for some draws: 70 m beyond the end of"),
    ],
)
def test_who_starts_inside_another_or_off_the_map_is_named(
    write: Write, place: str, expected: str
) -> None:
    head = HEAD.replace("kind: debris, lane: 1, ahead_m: 40", f"kind: debris, {place}")
    found = problems(write("e", head))
    assert any(expected in p for p in found), found


@pytest.mark.parametrize(
    "place",
    ["lane: 0, ahead_m: 22", "lane: 1, ahead_m: 24", "lane: 0, ahead_m: -80", "lane: 1, s_m: 20"],
)
def test_who_stands_close_by_is_fine(write: Write, place: str) -> None:
    head = HEAD.replace("kind: debris, lane: 1, ahead_m: 40", f"kind: debris, {place}")
    assert sample(load_file(write("e", head)), 0).actors[1].id == "box"

"""Traffic, weather, faults and signals in scenario files."""

from __future__ import annotations

import math

import pytest

from alpamayo import types
from scenarios.load import load_file
from scenarios.sample import sample
from scenarios.surroundings import CAMERA_FAULTS, WITHOUT_AMOUNT
from sim.faults import CAMERA_KINDS, check_faults
from tests.scenarios.conftest import Write, problems

HEAD = """\
schema_version: 1
id: s
family: s
description: x
parameters: {p: {choice: [4]}, style: {choice: [timid]}, fault: {choice: [drop]}}
road: {kind: junction}
ego: {path: south_north}
"""


def draw(write: Write, text: str) -> types.Scenario:
    return sample(load_file(write("s", f"{HEAD}{text}\n")), 0)


def test_nothing_said_means_nothing_there(write: Write) -> None:
    drawn = draw(write, "tags: []")
    assert (drawn.traffic, drawn.weather, drawn.faults) == (None, types.Weather(), ())
    assert drawn.signals == types.SignalPlan() and drawn.light == 1.0


def test_traffic_has_the_defaults_of_the_simulator(write: Write) -> None:
    assert draw(write, "traffic: {}").traffic == types.TrafficSpec()
    drawn = draw(
        write,
        "traffic: {vehicles: 2 * $p, pedestrians: 3, styles: [$style, hurried], kinds: [bus, car],"
        " clear_m: $p, within_m: 80, speed_factor: [0.5, $p / 4]}",
    )
    expected = types.TrafficSpec(8, 3, ("timid", "hurried"), ("bus", "car"), 4.0, 80.0, (0.5, 1.0))
    assert drawn.traffic == expected


def test_weather_goes_beside_the_light(write: Write) -> None:
    drawn = draw(
        write,
        "environment: {light: 0.4}\nweather: {fog_m: 20 * $p, rain: 0.5, snow: 0.1, glare: 1,"
        " friction: 0.7, patches: [{from_m: 10, to_m: 10 + $p, friction: 0.1}]}",
    )
    patches = ((10.0, 14.0, 0.1),)
    assert drawn.weather == types.Weather(80.0, 0.5, 0.1, 1.0, 0.7, patches)
    assert drawn.light == 0.4


def test_faults_last_to_the_end_unless_told_otherwise(write: Write) -> None:
    drawn = draw(
        write,
        "faults:\n"
        "  - {kind: dead, camera: front_tele, start_s: 1, end_s: $p}\n"
        "  - {kind: $fault, amount: $p / 8}\n"
        "  - {kind: latency, amount: 0.2}",
    )
    assert drawn.faults == (
        types.Fault("dead", "front_tele", 0.0, 1.0, 4.0),
        types.Fault("drop", "all", 0.5, 0.0, math.inf),
        types.Fault("latency", "all", 0.2, 0.0, math.inf),
    )


def test_signals_may_fail(write: Write) -> None:
    assert draw(write, "signals: {green_s: 7, mode: dark}").signals == types.SignalPlan(
        green_s=7.0, mode="dark"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("traffic: {vehicle: 3}", "8:11: traffic.vehicle: unknown key; did you mean vehicles?"),
        ("traffic: {vehicles: 2.5}", "8:11: traffic.vehicles: expected a whole number, got 2.5"),
        ("traffic: {vehicles: $p / 8}", "8:11: traffic.vehicles: expected a whole number, got 0.5"),
        ("traffic: {styles: []}", "8:11: traffic.styles: expected at least 1 items, got 0"),
        (
            "traffic: {styles: [normal, timd]}",
            "8:28: traffic.styles.1: expected one of timid, normal, hurried, aggressive, got timd;"
            " did you mean timid?",
        ),
        ("traffic: {kinds: [pedestrian]}", "8:19: traffic.kinds.0: expected one of car, van"),
        (
            "traffic: {speed_factor: [$p / 4, 0.5]}",
            "8:11: traffic.speed_factor: expected [low, high], got [1, 0.5]",
        ),
        ("weather: {rain: 2}", "8:11: weather.rain: expected a number of at least 0 and at most 1"),
        ("weather: {fog: 20}", "8:11: weather.fog: unknown key; did you mean fog_m?"),
        ("weather: {fog_m: $p}", "8:11: weather.fog_m: expected a number of at least 5 m, got 4 m"),
        (
            "weather: {friction: 0}",
            "8:11: weather.friction: expected a number of at least 0.05 and at most 1.5, got 0",
        ),
        (
            f"weather: {{patches: [{', '.join(['{from_m: 0, to_m: 1, friction: 1}'] * 5)}]}}",
            "8:11: weather.patches: expected at most 4 items, got 5",
        ),
        (
            "weather: {patches: [{from_m: 5, to_m: $p, friction: 0.2}]}",
            "8:33: weather.patches.0.to_m: expected to_m above from_m, 5 m, got 4 m",
        ),
        (
            "weather: {patches: [{from_m: 5, to: 9, friction: 0.2}]}",
            "8:33: weather.patches.0.to: unknown key; did you mean to_m?",
        ),
        (
            "faults: [{kind: drity, amount: 0.1}]",
            "8:11: faults.0.kind: expected one of dead, frozen, drop, dirty",
        ),
        ("faults: [{kind: dirty}]", "8:10: faults.0.amount: missing; dirty needs one"),
        ("faults: [{kind: dead, amount: 1}]", "8:23: faults.0.amount: dead has no amount"),
        (
            "faults: [{kind: $fault, amount: $p}]",
            "8:25: faults.0.amount: expected 0 to 1 for drop, got 4",
        ),
        (
            "faults: [{kind: speed_noise, amount: 1, camera: front}]",
            "8:41: faults.0.camera: speed_noise is about ego's state, not about a camera",
        ),
        (
            "faults: [{kind: frozen, start_s: 5, end_s: $p}]",
            "8:37: faults.0.end_s: expected more than start_s, 5 s, got 4 s",
        ),
        (
            "signals: {mode: broken}",
            "8:11: signals.mode: expected one of cycle, dark, flashing, stuck_red, stuck_green",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(write: Write, text: str, expected: str) -> None:
    found = problems(write("s", f"{HEAD}{text}\n"))
    assert any(p.startswith(expected) for p in found), found


@pytest.mark.parametrize("kind", (*CAMERA_FAULTS, "speed_scale", "speed_noise", "latency"))
@pytest.mark.parametrize("amount", [-200.0, -90.0, -0.5, 0.0, 0.5, 5.0, 90.0, 999.0, 1001.0])
def test_amounts_of_faults_are_those_that_the_simulator_takes(
    write: Write, kind: str, amount: float
) -> None:
    assert set(CAMERA_FAULTS) == set(CAMERA_KINDS)
    if kind in WITHOUT_AMOUNT:
        return
    fault = types.Fault(kind, amount=amount)  # type: ignore[arg-type]
    path = write("s", f"{HEAD}faults: [{{kind: {kind}, amount: {amount}}}]\n")
    try:
        check_faults([fault], None, "x")
    except types.RequestError:
        assert problems(path)[0].startswith("8:")
    else:
        assert sample(load_file(path), 0).faults == (fault,)

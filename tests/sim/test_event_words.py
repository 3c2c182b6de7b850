"""Combined triggers, and events that change how the world looks, what the ego's sensors tell and
who lies on the road."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alpamayo.types import (
    Action,
    ActorSpec,
    Condition,
    EgoSpec,
    EventSpec,
    Fault,
    RequestError,
    RoadSpec,
    Scenario,
    Trigger,
    WeatherChange,
)
from sim.actors.shift import SHIFT_RAMP_S
from sim.config import CameraConfig, RigConfig, SimConfig
from sim.looks import looks_at
from sim.world import WorldBatch

NO_RIG = SimConfig(rig=None)
CAR = ActorSpec("car", "car", "lane0", 60.0, speed_mps=8.0, behaviour="scripted")
RIDER = replace(CAR, id="rider", kind="cyclist", speed_mps=5.0)


def world(
    *events: EventSpec,
    actors: tuple[ActorSpec, ...] = (CAR,),
    config: SimConfig = NO_RIG,
    **more: Any,
) -> WorldBatch:
    made = Scenario(
        "made", "made", True, 5, RoadSpec(), EgoSpec(speed_mps=10.0), actors, events, **more
    )
    return WorldBatch([made], config)


def go(worlds: WorldBatch, decisions: int = 1) -> WorldBatch:
    for _ in range(decisions):
        worlds.step(np.zeros((worlds.num_worlds, worlds.config.plan_steps, 2)))
    return worlds


def fired(worlds: WorldBatch) -> list[float]:
    """When each event fired (inf: not yet)."""
    count = int(worlds.state.event_count[0])
    return [round(float(t), 3) for t in worlds.state.fired_s[0, :count]]


def when(*parts: Condition, kind: str = "all") -> EventSpec:
    return EventSpec("car", Trigger(kind, parts=parts), (Action("indicator", value=2.0),))  # type: ignore[arg-type]


# Triggers --------------------------------------------------------------------------------
def test_all_of_several_must_hold_at_the_same_time_and_any_of_them_is_enough() -> None:
    late, early = Condition("time", 1.5), Condition("time", 0.6)
    never = Condition("ego_speed", 50.0)
    fast = Condition("ego_at_most", 10.5)
    worlds = go(
        world(
            when(late, early), when(late, early, kind="any"), when(early, never),
            when(early, never, kind="any"), when(early, fast),
        ),
        6,
    )  # fmt: skip
    assert fired(worlds) == [1.5, 0.6, np.inf, 0.6, 0.6]


def test_combinations_nest_and_speak_of_other_actors_and_events() -> None:
    other = replace(CAR, id="other", s_m=30.0, speed_mps=2.0)
    # ego closes in on other at 8 m/s, from 30 - 4.7 = 25.3 m: 9.3 m at 2 s
    near = Condition("distance", 9.3, actor="other", whole=1)
    after = Condition("after", 0.5, event=1)
    nested = when(Condition("time", 9.0), Condition("all"), near, Condition("time", 0.1, whole=1),
                  kind="any")  # fmt: skip
    worlds = go(world(nested, when(Condition("time", 1.0)), when(after, Condition("time", 0.2)),
                      actors=(CAR, other)), 7)  # fmt: skip
    assert fired(worlds) == [2.0, 1.0, 1.5]


def test_position_and_slowness_of_an_actor() -> None:
    brake = EventSpec("car", Trigger("time", 0.0), (Action("speed", speed_mps=0, accel_mps2=4.0),))
    slow = EventSpec("car", Trigger("actor_at_most", 4.0), ())
    # starts at 90 m (30 + 60), 8 m/s braking with 4: 6 m after 1 s
    there = EventSpec("car", Trigger("actor_position", 96.0), ())
    assert fired(go(world(brake, slow, there), 4))[1:] == [1.0, 1.0]


def test_parts_of_what_is_not_listed_before_are_refused() -> None:
    with pytest.raises(RequestError, match=r"events\[0\]: trigger.parts\[0\]: whole: expected an"):
        world(when(Condition("time", 1.0, whole=0)))
    with pytest.raises(RequestError, match=r"parts\[0\]: actor 'nobody': expected one of car"):
        world(when(Condition("distance", 1.0, actor="nobody")))
    with pytest.raises(RequestError, match=r"faults\[0\]: event: expected -1 to 0, got 3"):
        world(when(Condition("time", 1.0)), faults=(Fault("latency", amount=0.1, event=3),))


# The start -------------------------------------------------------------------------------
def test_what_holds_at_the_start_has_happened_before_the_ego_looks() -> None:
    gone = EventSpec("car", Trigger("time", 0.0), (Action("vanish"),))
    back = EventSpec("car", Trigger("time", 0.8), (Action("appear"),))
    worlds = world(gone, back)
    assert worlds.scene(0).ids == ()
    assert go(worlds, 2).scene(0).ids == () and go(worlds).scene(0).ids == ("car",)


# Actions ---------------------------------------------------------------------------------
def test_a_speed_is_reached_evenly_within_the_time() -> None:
    change = EventSpec("car", Trigger("time", 0.4), (Action("speed", speed_mps=2.0, in_s=2.0),))
    worlds = go(world(change), 1)
    speeds = [float(go(worlds).state.v[0, 0]) for _ in range(6)]
    assert speeds == pytest.approx([6.8, 5.6, 4.4, 3.2, 2.0, 2.0])


def test_a_patch_of_another_friction_is_laid_on_the_route() -> None:
    lay = EventSpec("", Trigger("time", 0.5), (Action("patch", patch=(20.0, 40.0, 0.2)),))
    worlds = go(world(lay), 1)
    before = worlds.state.patches[0].copy()
    go(worlds)
    assert before[0, 0] == np.inf and worlds.state.patches[0, 0].tolist() == [20.0, 40.0, 0.2]
    assert np.array_equal(worlds.state.patches[0, 1:], before[1:])


def test_whoever_falls_lies_across_and_slides_to_a_halt() -> None:
    fall = EventSpec("rider", Trigger("time", 0.4), (Action("fall"), Action("fall")))
    worlds = go(world(fall, actors=(RIDER,)), 6)
    state = worlds.state
    assert (state.width[0, 0], state.height[0, 0]) == (1.7, 0.7), "and does not get up again"
    # 5 m/s over 0.4 s, then 25 / (2 * 5) m of sliding, from 90 m
    assert state.v[0, 0] == 0.0 and state.s[0, 0] == pytest.approx(90 + 2.0 + 2.5)


def test_an_actor_goes_over_to_a_path_beside_its_own() -> None:
    follow = EventSpec("car", Trigger("time", 0.0), (Action("follow", path="lane1"),))
    worlds = go(world(follow), 14)
    road = worlds.atlas.map(int(worlds.state.map_id[0]))
    assert road.names[int(worlds.state.path[0, 0])] == "lane1"
    assert worlds.state.d[0, 0] == pytest.approx(0.0, abs=1e-6)


def test_the_language_knows_how_long_a_move_sideways_takes() -> None:
    from scenarios import events

    assert events.SHIFT_RAMP_S == SHIFT_RAMP_S


# Weather and sensors ---------------------------------------------------------------------
def looks(worlds: WorldBatch, time_s: float) -> dict[str, float]:
    found = looks_at(
        worlds.state, np.array([0]), worlds.scenarios, np.array([time_s]), worlds.config.tick_s
    )
    return {name: round(float(value[0]), 6) for name, value in found.items()}


def test_the_weather_changes_from_the_tick_after_the_event_and_over_time() -> None:
    fog = Action("weather", weather=WeatherChange(fog_m=50.0, light=0.5, over_s=2.0))
    rain = Action("weather", weather=WeatherChange(rain=0.8))
    worlds = go(world(EventSpec("", Trigger("time", 0.4), (fog,)),
                      EventSpec("", Trigger("time", 1.6), (rain,))), 8)  # fmt: skip
    assert looks(worlds, 0.4)["light"] == 1.0, "seen before it fired"
    assert looks(worlds, 1.5) == {
        "light": 0.75, "fog_m": 100.0, "rain": 0.0, "snow": 0.0, "glare": 0.0,
    }  # fmt: skip
    assert looks(worlds, 3.0)["fog_m"] == 50.0 and looks(worlds, 3.0)["rain"] == 0.8
    assert looks(worlds, 1.6)["rain"] == 0.0 and looks(worlds, 1.7)["rain"] == 0.8


def test_sensors_break_and_plans_wait_longer_from_the_tick_after_the_event() -> None:
    fault = Fault("speed_scale", amount=0.5, end_s=1.0, event=0)
    event = EventSpec("", Trigger("time", 0.8), ())
    worlds = world(event, faults=(fault, Fault("latency", amount=0.4, start_s=0.0, event=0)))
    told = []
    for _ in range(7):
        told.append(round(float(worlds.observe().speed_mps[0]) / float(worlds.state.speed[0]), 3))
        go(worlds)
    assert told == [1.0, 1.0, 1.0, 1.5, 1.5, 1.0, 1.0], "from 0.9 s to 1.9 s"
    normal, slow = go(world(event), 6), go(world(event, faults=worlds.scenarios[0].faults), 6)
    waits = [int((w.state.queue_due[0] >= 0).sum()) for w in (normal, slow)]
    assert waits[1] == waits[0] + 1


RIG = RigConfig(cameras=(CameraConfig("front"),), width_px=64, height_px=32, frames=2)
STORM = EventSpec(
    "rider", Trigger("time", 0.8),
    (Action("weather", weather=WeatherChange(fog_m=20.0, light=0.3, over_s=1.0)), Action("fall")),
)  # fmt: skip
BLIND = Fault("dirty", amount=0.5, start_s=0.0, end_s=0.8, event=0)


def test_forks_and_other_batches_see_the_same_pictures_of_what_events_did() -> None:
    config = SimConfig(rig=RIG)
    rider = replace(RIDER, s_m=14.0)
    drive = world(STORM, actors=(rider,), config=config, faults=(BLIND,))
    calm = world(actors=(rider,), config=config)
    both = WorldBatch([calm.scenarios[0], drive.scenarios[0]], config)
    images, late = [], []
    for _ in range(8):
        images.append(drive.observe().frames.copy())
        assert np.array_equal(both.observe().frames[1], images[-1][0])
        late.append(drive.fork([0]).observe().frames)
        assert np.array_equal(late[-1], images[-1]), "drawn again, past frames too"
        go(drive), go(both)
    assert drive.state_hash() == both.state_hash()[1:]
    quiet = [go(calm).observe().frames[0, -1].mean() for _ in range(7)]
    assert images[7][0, -1].mean() < 0.6 * quiet[-1], "it has become dark"

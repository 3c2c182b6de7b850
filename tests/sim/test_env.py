from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import sim
from alpamayo.types import ActorSpec, EgoSpec, RequestError, RoadSpec
from sim.config import RigConfig
from sim.rewards import TERMS

RIG = RigConfig(width_px=48, height_px=24)


def zero_plan(env: gym.Env) -> np.ndarray:
    return np.zeros(env.action_space.shape, np.float32)


@pytest.mark.filterwarnings("ignore:.*not set to `-inf`.*")
@pytest.mark.parametrize("rig", [None, RIG])
def test_the_single_environment_passes_gymnasiums_checker(scenario, rig) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
    env = gym.make(sim.ENV_ID, scenario=scenario(lead), rig=rig, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=False)
    observation, _ = env.reset(seed=1)
    assert ("frames" in observation) == (rig is not None)
    assert env.action_space.shape == (8, 2)


def test_running_out_of_time_is_a_truncation_and_a_crash_a_termination(scenario) -> None:
    quiet = gym.make(sim.ENV_ID, scenario=scenario(duration_s=0.8), rig=None)
    quiet.reset(seed=0)
    outcomes = [quiet.step(zero_plan(quiet))[2:4] for _ in range(2)]
    assert outcomes == [(False, False), (False, True)]

    parked = ActorSpec("p", "car", "lane0", 8.0, behaviour="static")
    crash = gym.make(sim.ENV_ID, scenario=scenario(parked), rig=None)
    crash.reset(seed=0)
    _, reward, terminated, truncated, info = crash.step(zero_plan(crash))
    assert (terminated, truncated) == (True, False)
    assert info["end"] == "collision" and info["at_fault"]
    assert reward == pytest.approx(sum(info[f"reward_{name}"] for name in TERMS))
    assert info["reward_at_fault_collision"] == -40.0

    short = gym.make(
        sim.ENV_ID,
        scenario=scenario(road=RoadSpec(length_m=60.0), ego=EgoSpec(s_m=52.0, speed_mps=10.0)),
        rig=None,
    )
    short.reset(seed=0)
    assert short.step(zero_plan(short))[2:4] == (False, True)


def test_the_vector_environment_resets_at_the_next_step(scenario) -> None:
    # 3.9 m bumper to bumper: driving on hits it within the first 0.4 s, braking does not yet
    parked = ActorSpec("p", "car", "lane0", 8.6, behaviour="static")
    envs = gym.make_vec(
        sim.ENV_ID,
        num_envs=3,
        vectorization_mode="vector_entry_point",
        scenario=scenario(parked),
        rig=RIG,
    )
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observation, info = envs.reset(seed=5)
    assert observation in envs.observation_space
    assert info["scenario"].tolist() == ["test"] * 3
    actions = np.zeros((3, 8, 2), np.float32)
    actions[1, :, 0] = -8.0
    observation, reward, terminated, truncated, info = envs.step(actions)
    assert terminated.tolist() == [True, False, True] and not truncated.any()
    assert info["_end"].all() and (reward[[0, 2]] < -30.0).all()
    last = observation
    observation, reward, terminated, truncated, info = envs.step(actions)
    assert reward[0] == reward[2] == 0.0 and not terminated[[0, 2]].any()
    assert info["_end"].tolist() == [False, True, False]
    assert observation["speed_mps"][0] == 10.0, "a fresh episode, its action was ignored"
    assert (observation["frames"][0] != last["frames"][0]).any()
    np.testing.assert_array_equal(envs.unwrapped.worlds.time_s[[0, 2]], 0.0)
    envs.close()


def test_single_and_vector_environments_drive_the_same_episode(scenario) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
    settings = {"scenario": scenario(lead), "rig": None}
    env = gym.make(sim.ENV_ID, **settings)
    envs = gym.make_vec(sim.ENV_ID, num_envs=2, vectorization_mode="vector_entry_point", **settings)
    env.reset(seed=3)
    envs.reset(seed=3)
    for k in range(10):
        plan = np.full((8, 2), [np.sin(k), 0.002 * np.cos(k)], np.float32)
        one = env.step(plan)
        many = envs.step(np.stack([plan, plan]))
        for key, value in one[0].items():
            np.testing.assert_array_equal(many[0][key][0], value)
            np.testing.assert_array_equal(many[0][key][1], value)
        assert one[1] == many[1][0]


def test_partial_reset_restarts_only_the_chosen_worlds(scenario) -> None:
    envs = gym.make_vec(
        sim.ENV_ID,
        num_envs=2,
        vectorization_mode="vector_entry_point",
        scenario=scenario(),
        rig=None,
    )
    envs.reset(seed=0)
    envs.step(np.zeros((2, 8, 2), np.float32))
    envs.reset(seed=[4, None], options={"reset_mask": np.array([True, False])})
    np.testing.assert_allclose(envs.unwrapped.worlds.time_s, [0.0, 0.4])


def test_a_list_of_scenarios_is_drawn_from_by_seed(scenario) -> None:
    pair = [scenario(seed=100), scenario(seed=200, ego=EgoSpec(speed_mps=4.0))]
    env = gym.make(sim.ENV_ID, scenario=pair, rig=None)
    drawn = [env.reset(seed=k)[1]["seed"] for k in range(20)]
    assert set(drawn) == {100, 200}
    assert drawn == [env.reset(seed=k)[1]["seed"] for k in range(20)]


def test_a_library_scenario_is_sampled_with_the_reset_seed() -> None:
    from scenarios.load import load_document
    from scenarios.sample import sample

    env = gym.make(sim.ENV_ID, scenario="cut_in", rig=None)
    _, info = env.reset(seed=7)
    assert info["seed"] == 7
    assert env.unwrapped.worlds.scenarios[0] == sample(load_document("cut_in"), 7)
    env.reset()
    assert env.unwrapped.worlds.scenarios[0].seed != 7
    gym.make(sim.ENV_ID, rig=None).reset(seed=0)


def test_wrong_choices_are_refused() -> None:
    with pytest.raises(RequestError, match="scenario: expected"):
        gym.make(sim.ENV_ID, scenario=[])
    with pytest.raises(RequestError, match="rig: expected a RigConfig or None"):
        gym.make(sim.ENV_ID, scenario="cut_in", rig=3)
    env = gym.make(sim.ENV_ID, scenario="cut_in", rig=None).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((8, 2), np.float32))


def test_importing_the_simulator_is_cheap() -> None:
    code = (
        "import sys, sim;"
        "heavy = {'torch', 'ray', 'cv2', 'pydantic', 'sim.world'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

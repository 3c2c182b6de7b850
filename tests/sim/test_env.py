from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import sim
from alpamayo.types import ActorSpec, EgoSpec, RequestError, RoadSpec, TrafficSpec
from scenarios.splits import SEEDS
from sim.config import CameraConfig, RigConfig, SimConfig
from sim.observe import StateView
from sim.rewards import TERMS

RIG = RigConfig(width_px=48, height_px=24)
TWO_CAMERAS = RigConfig(
    48, 24, frames=2, supersample=1,
    cameras=(CameraConfig("left", yaw_deg=60.0), CameraConfig("front")),
)  # fmt: skip
LEAD = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
IDS = (sim.ENV_ID, sim.STATE_ENV_ID)


def zero_plan(env: gym.Env) -> np.ndarray:
    return np.zeros(env.action_space.shape, np.float32)


def make_vec(env_id: str, num_envs: int, **settings) -> gym.vector.VectorEnv:
    return gym.make_vec(
        env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **settings
    )


def assert_same(left, right) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    else:
        np.testing.assert_array_equal(left, right)


def test_both_ids_are_registered() -> None:
    ours = {name for name in gym.registry if name.startswith("alpamayo/")}
    assert ours == set(IDS)


# gymnasium recommends normalised actions; ours have units
@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space.*")
@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        (sim.ENV_ID, {"rig": None}),
        (sim.ENV_ID, {"rig": RIG}),
        (sim.ENV_ID, {"rig": TWO_CAMERAS}),
        (sim.ENV_ID, {"rig": None, "action": "controls"}),
        (sim.ENV_ID, {"rig": None, "flatten": True}),
        (sim.STATE_ENV_ID, {}),
    ],
)
def test_every_id_passes_gymnasiums_checker(scenario, env_id, settings) -> None:
    env = gym.make(env_id, scenario=scenario(LEAD), render_mode="rgb_array", **settings)
    check_env(env.unwrapped, skip_render_check=False)


@pytest.mark.parametrize("env_id", IDS)
def test_every_id_is_a_vector_environment_within_its_spaces(scenario, env_id) -> None:
    settings = {"rig": RIG} if env_id == sim.ENV_ID else {}
    envs = make_vec(env_id, 3, scenario=scenario(LEAD, duration_s=1.2), **settings)
    observation, info = envs.reset(seed=3)
    assert observation in envs.observation_space and info["seed"].shape == (3,)
    envs.action_space.seed(0)
    for _ in range(5):
        observation, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert observation in envs.observation_space
        for values in (reward, terminated, truncated, *info.values()):
            assert isinstance(values, np.ndarray) and values.shape == (3,)
    for part in (envs.single_observation_space, envs.observation_space):
        assert type(part) is type(envs.single_observation_space)
    envs.close()


def test_spaces_have_the_announced_shapes(scenario) -> None:
    def spaces(**settings):
        env = gym.make(sim.ENV_ID, scenario=scenario(), **settings)
        return env.observation_space, env.action_space

    images, plan = spaces(rig=TWO_CAMERAS)
    assert images["frames"].shape == (4, 24, 48, 3) and plan.shape == (8, 2)
    state, controls = spaces(rig=None, action="controls")
    assert controls.shape == (2,)
    assert controls.low == pytest.approx([-8.0, -0.2]) and controls.high[0] == 4.0
    assert state["actors"].shape == (16, 9) and state["road"].shape == (16, 4)
    few, _ = spaces(rig=None, view=StateView(actors=5, road_m=(0.0, 20.0)))
    assert few["actors"].shape == (5, 9) and few["road"].shape == (2, 4)
    assert spaces(rig="alpamayo")[0]["frames"].shape == (16, 252, 448, 3)
    assert spaces()[0]["frames"].shape == (2, 56, 168, 3)


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
    envs = make_vec(sim.ENV_ID, 3, scenario=scenario(parked), rig=RIG)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observation, info = envs.reset(seed=5)
    assert observation in envs.observation_space
    assert info["scenario"].tolist() == ["test"] * 3
    actions = np.zeros((3, 8, 2), np.float32)
    actions[1, :, 0] = -8.0
    observation, reward, terminated, truncated, info = envs.step(actions)
    assert terminated.tolist() == [True, False, True] and not truncated.any()
    assert info["_end"].all() and (reward[[0, 2]] < -30.0).all()
    assert "scenario" not in info, "no episode began"
    last = observation
    observation, reward, terminated, truncated, info = envs.step(actions)
    assert reward[0] == reward[2] == 0.0 and not terminated[[0, 2]].any()
    assert info["_end"].tolist() == [False, True, False]
    assert info["_scenario"].tolist() == [True, False, True]
    assert observation["speed_mps"][0] == 10.0, "a fresh episode, its action was ignored"
    assert (observation["frames"][0] != last["frames"][0]).any()
    np.testing.assert_array_equal(envs.unwrapped.worlds.time_s[[0, 2]], 0.0)
    envs.close()


@pytest.mark.parametrize("env_id", IDS)
def test_single_and_vector_environments_drive_the_same_episode(scenario, env_id) -> None:
    settings = {"scenario": scenario(LEAD), "rig": None}
    env = gym.make(env_id, **settings)
    envs = make_vec(env_id, 2, **settings)
    env.reset(seed=3)
    envs.reset(seed=3)
    for k in range(10):
        action = np.full(env.action_space.shape, [np.sin(k), 0.002 * np.cos(k)], np.float32)
        one = env.step(action)
        many = envs.step(np.stack([action, action]))
        for row in range(2):
            both = many[0]
            mine = {n: v[row] for n, v in both.items()} if isinstance(both, dict) else both[row]
            assert_same(mine, one[0])
        assert one[1] == many[1][0]


def test_a_scripted_session_of_64_worlds(scenario) -> None:
    envs = gym.make_vec(
        "alpamayo/Driving-v0", num_envs=64, vectorization_mode="vector_entry_point",
        scenario=["cut_in", "hard_lead_brake"], rig=None,
    )  # fmt: skip
    observation, info = envs.reset(seed=100)
    assert info["seed"].tolist() == list(range(100, 164))
    assert set(info["scenario"]) == {"cut_in", "hard_lead_brake"}
    ended = np.zeros(64, dtype=int)
    drive_on = np.zeros((64, 8, 2), np.float32)
    was_done = np.zeros(64, dtype=bool)
    for _ in range(60):
        observation, reward, terminated, truncated, info = envs.step(drive_on)
        assert (reward[was_done] == 0.0).all() and not (terminated | truncated)[was_done].any()
        was_done = terminated | truncated
        ended += was_done
        assert np.isfinite(reward).all()
        assert (info["end"][was_done] != "running").all()
    assert observation in envs.observation_space
    assert (ended >= 1).all(), "driving on ends every episode in time, and the next one begins"
    envs.close()


def test_partial_reset_restarts_only_the_chosen_worlds(scenario) -> None:
    envs = make_vec(sim.ENV_ID, 2, scenario=scenario(), rig=None)
    with pytest.raises(gym.error.ResetNeeded, match="every world"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    envs.step(np.zeros((2, 8, 2), np.float32))
    envs.reset(seed=[4, None], options={"reset_mask": np.array([True, False])})
    np.testing.assert_allclose(envs.unwrapped.worlds.time_s, [0.0, 0.4])
    with pytest.raises(RequestError, match="expected 2 seeds"):
        envs.reset(seed=[1, 2, 3])


def test_a_list_of_scenarios_is_drawn_from_by_seed(scenario) -> None:
    pair = [scenario(seed=100), scenario(seed=200, ego=EgoSpec(speed_mps=4.0))]
    env = gym.make(sim.ENV_ID, scenario=pair, rig=None)
    drawn = [env.reset(seed=k)[1]["seed"] for k in range(20)]
    assert set(drawn) == {100, 200}
    assert drawn == [env.reset(seed=k)[1]["seed"] for k in range(20)]


def test_the_same_seed_gives_the_same_episodes(scenario) -> None:
    def drive() -> list[np.ndarray]:
        envs = make_vec(sim.STATE_ENV_ID, 3, scenario="cut_in", traffic=4)
        seen = [envs.reset(seed=11)[0]]
        rng = np.random.default_rng(0)
        for _ in range(40):
            actions = rng.uniform([-8.0, -0.05], [4.0, 0.05], (3, 2)).astype(np.float32)
            seen.append(envs.step(actions)[0])
        return seen

    first, again = drive(), drive()
    np.testing.assert_array_equal(np.stack(first), np.stack(again))


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


@pytest.mark.parametrize(
    ("chosen", "split", "expected"),
    [
        ("roundabout", "train", 'family roundabout is held out of split train.*split="test"'),
        ("roundabout", "validation", "held out of split validation"),
        (["cut_in", "parking_pull_out_nominal"], "train", 'split="validation"'),
        ("cut_in", "training", "expected one of train, heldout, validation, test"),
    ],
)
def test_what_another_split_holds_out_is_refused(chosen, split: str, expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        gym.make(sim.ENV_ID, scenario=chosen, rig=None, split=split)
    with pytest.raises(RequestError, match=expected):
        make_vec(sim.STATE_ENV_ID, 2, scenario=chosen, split=split)


def test_seeds_are_those_of_the_split(scenario) -> None:
    env = gym.make(sim.ENV_ID, scenario="cut_in", rig=None)
    with pytest.raises(RequestError, match=r"seed 1000000 belongs to split heldout; .*0\.\.999999"):
        env.reset(seed=1_000_000)
    assert env.reset(seed=2**31 - 1)[1]["seed"] == 2**31 - 1  # nobody's
    with pytest.raises(RequestError, match="seed 4000000 belongs to split test"):
        gym.make(sim.ENV_ID, scenario=scenario(seed=4_000_000), rig=None)
    for split, first in (("heldout", 1_000_000), ("test", 4_000_000)):
        env = gym.make(sim.ENV_ID, scenario="cut_in", rig=None, split=split)
        assert env.reset(seed=first)[1]["seed"] == first
        assert all(env.reset()[1]["seed"] in SEEDS[split] for _ in range(5))
    test = gym.make(sim.ENV_ID, scenario="roundabout", rig=None, split="test")
    test.reset(seed=4_000_001)


def test_traffic_replaces_that_of_the_scenario(scenario) -> None:
    def actors(**settings) -> int:
        env = gym.make(sim.STATE_ENV_ID, **settings)
        env.reset(seed=1)
        return int(env.unwrapped.worlds.state.present[0].sum())

    busy = scenario(LEAD, traffic=TrafficSpec(vehicles=9))
    assert actors(scenario=busy) == 10
    assert actors(scenario=busy, traffic=3) == 4
    assert actors(scenario=busy, traffic=TrafficSpec(vehicles=1, pedestrians=1)) == 3
    quiet = actors(scenario="hard_lead_brake")
    assert actors(scenario="hard_lead_brake", traffic=5) == quiet + 5


def test_controls_drive_the_car_directly(scenario) -> None:
    config = SimConfig(latency_s=0.0, actuator_lag_s=0.0)
    env = gym.make(sim.STATE_ENV_ID, scenario=scenario(), config=config).unwrapped
    env.reset(seed=0)
    env.step(np.array([2.0, 0.0], np.float32))
    assert env.worlds.state.speed[0] == pytest.approx(10.8, abs=1e-6), "2 m/s2 for 0.4 s"
    env.step(np.array([0.0, 0.01], np.float32))
    assert env.worlds.state.speed[0] == pytest.approx(10.8, abs=1e-6)
    assert env.worlds.state.heading[0] == pytest.approx(0.01 * 10.8 * 0.4, rel=1e-4)


BAD = [
    (
        (1, 3, 0),
        np.nan,
        r"world 1: action\[3\].accel_mps2: expected a number from -8 to 4, got nan",
    ),
    ((0, 0, 1), np.inf, r"world 0: action\[0\].curvature_per_m: .* from -0.2 to 0.2, got inf"),
    ((2, 7, 0), -8.1, r"world 2: action\[7\].accel_mps2: .* got -8.1"),
]


@pytest.mark.parametrize(("where", "value", "message"), BAD)
def test_what_is_no_plan_is_refused_before_anything_moves(scenario, where, value, message) -> None:
    settings = {"scenario": scenario(LEAD), "rig": None}
    envs, twin = (make_vec(sim.ENV_ID, 3, **settings) for _ in range(2))
    envs.reset(seed=0)
    twin.reset(seed=0)
    actions = np.zeros((3, 8, 2), np.float32)
    envs.step(actions)
    twin.step(actions)
    before = envs.unwrapped.worlds.state_hash()
    wrong = actions.copy()
    wrong[where] = value
    with pytest.raises(RequestError, match=message):
        envs.step(wrong)
    assert envs.unwrapped.worlds.state_hash() == before
    envs.step(actions)
    twin.step(actions)
    assert envs.unwrapped.worlds.state_hash() == twin.unwrapped.worlds.state_hash()


def test_the_bounds_themselves_are_plans(scenario) -> None:
    envs = make_vec(sim.ENV_ID, 2, scenario=scenario(), rig=None)
    envs.reset(seed=0)
    low, high = envs.single_action_space.low, envs.single_action_space.high
    envs.step(np.stack([low, high]))
    envs.step(np.stack([low, high]).astype(np.float64))
    assert (envs.unwrapped.worlds.time_s > 0.0).all()


@pytest.mark.parametrize("env_id", IDS)
def test_a_world_that_gets_no_plan_may_brake_instead(scenario, env_id) -> None:
    envs = make_vec(env_id, 3, scenario=scenario(), rig=None, invalid="brake")
    twin = make_vec(env_id, 3, scenario=scenario(), rig=None)
    envs.reset(seed=0)
    twin.reset(seed=0)
    actions = np.zeros(envs.action_space.shape, np.float32)
    wrong, braking = actions.copy(), actions.copy()
    wrong[1], braking[1, ..., 0] = np.nan, -8.0
    info = envs.step(wrong)[4]
    twin.step(braking)
    assert info["invalid_action"].tolist() == [False, True, False]
    worlds = envs.unwrapped.worlds
    assert worlds.state_hash() == twin.unwrapped.worlds.state_hash()
    assert worlds.state.speed[1] < worlds.state.speed[0]
    assert not envs.step(actions)[4]["invalid_action"].any()


def test_the_action_of_an_ended_world_may_be_anything(scenario) -> None:
    envs = make_vec(sim.STATE_ENV_ID, 2, scenario=scenario(duration_s=0.4))
    envs.reset(seed=0)
    assert envs.step(np.zeros((2, 2), np.float32))[3].all()
    observation = envs.step(np.full((2, 2), np.nan, np.float32))[0]
    assert np.isfinite(observation).all()


def test_a_single_environment_refuses_and_brakes_too(scenario) -> None:
    env = gym.make(sim.STATE_ENV_ID, scenario=scenario()).unwrapped
    env.reset(seed=0)
    with pytest.raises(RequestError, match=r"world 0: action\.curvature_per_m"):
        env.step(np.array([0.0, 0.3], np.float32))
    careful = gym.make(sim.STATE_ENV_ID, scenario=scenario(), invalid="brake").unwrapped
    careful.reset(seed=0)
    assert careful.step(np.array([0.0, 0.3], np.float32))[4]["invalid_action"]
    assert careful.worlds.state.speed[0] < 10.0


def test_wrong_choices_are_refused(scenario) -> None:
    for settings, message in (
        ({"scenario": []}, "scenario: expected"),
        ({"scenario": 3.0}, "scenario: expected|not iterable"),
        ({"rig": 3}, "rig: expected a RigConfig, None, 'default' or 'alpamayo', got 3"),
        ({"rig": "lidar"}, "got 'lidar'"),
        ({"action": "steer"}, "action: expected 'plan' or 'controls'"),
        ({"traffic": -1}, "traffic: expected"),
        ({"invalid": "ignore"}, "invalid: expected"),
        ({"flatten": True}, "flatten: expected rig=None"),
    ):
        with pytest.raises((RequestError, TypeError), match=message):
            gym.make(sim.ENV_ID, **{"scenario": scenario(), **settings})
    env = gym.make(sim.ENV_ID, scenario=scenario(), rig=None).unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((8, 2), np.float32))
    env.reset(seed=0)
    with pytest.raises(RequestError, match=r"action: expected shape \(1, 8, 2\), got \(1, 2\)"):
        env.step(np.zeros(2, np.float32))


def test_render_shows_the_cameras_side_by_side(scenario) -> None:
    envs = make_vec(sim.ENV_ID, 2, scenario=scenario(), rig=TWO_CAMERAS, render_mode="rgb_array")
    observation, _ = envs.reset(seed=0)
    pictures = envs.render()
    assert len(pictures) == 2 and pictures[0].shape == (24, 96, 3)
    np.testing.assert_array_equal(pictures[1][:, 48:], observation["frames"][1, 3])
    blind = gym.make(sim.STATE_ENV_ID, scenario=scenario(), render_mode="rgb_array")
    blind.reset(seed=0)
    assert blind.render().std() > 0.0


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space.*")
def test_a_stock_trainer_runs_unmodified(scenario) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    import torch

    threads = torch.get_num_threads()
    env = gym.make(sim.STATE_ENV_ID, scenario=scenario(LEAD, duration_s=8.0))
    model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=32, n_epochs=2, seed=0, device="cpu")
    weights = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(total_timesteps=256)
    assert model.num_timesteps == 256
    moved = [
        not torch.equal(old, new)
        for old, new in zip(weights, model.policy.parameters(), strict=True)
    ]
    assert all(moved), "every weight has learned"
    observation, _ = env.reset(seed=1)
    action, _ = model.predict(observation, deterministic=True)
    assert action in env.action_space
    assert torch.get_num_threads() == threads


def test_importing_the_simulator_is_cheap() -> None:
    code = (
        "import sys, sim;"
        "heavy = {'torch', 'ray', 'cv2', 'numba', 'pydantic', 'sim.world'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

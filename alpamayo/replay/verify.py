"""Does a replay re-simulate to the same states? Proof of determinism that a viewer of logs cannot
give.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alpamayo.replay.record import Replay, read_replay
from alpamayo.types import CheckFailed, RequestError


@dataclass(frozen=True)
class Verification:
    """``decisions`` were re-simulated and every state hash agreed; ``final_hash`` is the last
    one.
    """

    path: str
    decisions: int
    final_hash: str


def verify(path: str | Path) -> Verification:
    """Rebuild the scenario, drive the recorded actions, compare the state before each decision and
    at the end.

    CheckFailed names the first decision whose outcome differs; RequestError a file that is not a
    sound replay.
    """
    replay = read_replay(path)
    different = first_difference(replay, str(path))
    if different is not None:
        header = replay.header
        time_s = different * header.sim_config.decision_s
        what = f"decision {different} (at {time_s:.1f} s) leads to another state"
        if different < 0:
            what = "the start state differs: another state"
        recorded = header.versions.get("alpamayo")
        raise CheckFailed(f"{path}: {what} than recorded (recorded with alpamayo {recorded})")
    return Verification(str(path), replay.decisions, replay.header.state_hashes[-1])


def first_difference(replay: Replay, path: str) -> int | None:
    """Index of the first decision after which the states differ, -1 if they do at the start, None
    if never.
    """
    from dataclasses import replace

    from sim.world import WorldBatch

    # Pixels are not part of the state: no camera makes this quick.
    config = replace(replay.header.sim_config, rig=None)
    try:
        world = WorldBatch([replay.header.scenario], config)
    except (ValueError, KeyError, IndexError) as error:
        raise RequestError(
            f"{path}: header.scenario: expected one that can be loaded ({error})"
        ) from None
    hashes = replay.header.state_hashes
    if world.state_hash()[0] != hashes[0]:
        return -1
    for decision, action in enumerate(replay.columns["actions"]):
        world.step(action[None])
        if world.state_hash()[0] != hashes[decision + 1]:
            return decision
    return None

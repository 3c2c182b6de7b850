"""The commented file that ``alpamayo scenario new`` writes; it lints and plays as it is."""

from __future__ import annotations

STARTER = """\
# A scenario: one road, ego, other road users, and what happens. See it with
#   alpamayo scenario lint {id}.yaml
#   alpamayo scenario show {id}.yaml
schema_version: 1
id: {id}                # equals the file's name
family: {id}            # the kind of danger; twins and variants share it
description: The car in front brakes hard.
sources: []             # where the situation is described (crash typologies, protocols)
tags: [lead, straight]
severity: S2            # S0 nobody is hurt .. S3 life-threatening, if nobody reacts
nominal: false          # true: nothing dangerous happens here

# Drawn anew for every seed. Use one anywhere below as $name, also in arithmetic: "$gap_m + 5".
parameters:
  ego_mps: {{uniform: [11, 14]}}
  ego_lane: {{choice: [0, 1]}}
  gap_m: {{normal: {{mean: 18, std: 3, min: 12, max: 26}}}}
  brake_mps2: {{uniform: [5, 8]}}
  other_lane: 1 - $ego_lane             # follows from another parameter

# Draws that break one of these are drawn again.
constraints:
  - $gap_m > $ego_mps

# kind: straight, curve and s_curve (radius_m), crest (rise_m), merge (ramp), exit, lane_drop,
# junction (signals), t_junction, roundabout, parking_street, or opendrive (file: map.xodr).
road: {{kind: straight, lanes: 2, length_m: 320, speed_limit_mps: 14}}

# lane: 0 is the rightmost; oncoming: 0; other paths have names (path: ramp, south_north ...).
ego: {{lane: $ego_lane, s_m: 30, speed_mps: $ego_mps}}

# behaviour: idm follows traffic and signals; scripted keeps its speed until an event; static
# stands; walk (pedestrians) goes to goal_d_m; log replays a recorded trajectory.
actors:
  - id: lead
    kind: car           # van truck bus motorcycle cyclist pedestrian animal ball cone door ...
    lane: $ego_lane
    ahead_m: $gap_m + 4.7               # between the middles of the boxes, along ego's route
    speed_mps: $ego_mps
    behaviour: scripted
  - id: beside
    lane: $other_lane
    ahead_m: -20
    speed_mps: $ego_mps
    driver: hurried                     # timid normal hurried aggressive; else keeps its lane
    probability: 0.5                    # there in half of the draws

# trigger: time_s, distance_m, ttc_s, headway_s, arrival_s, ego_position_m, ego_speed_mps,
# actor_speed_mps, after ...; several of them in all: [...] or any: [...].
events:
  - id: brake
    actor: lead
    trigger: {{any: [{{time_s: 4}}, {{headway_s: 1.2}}]}}
    # speed, brake, swerve, offset (sideways), lane_change, cross, fall, react (to idm), run_light,
    # open_door, vanish ...; to the world: signal, weather, friction, sensor_fault, latency
    actions:
      - brake: {{decel_mps2: $brake_mps2}}
      - indicator: hazard
  - actor: lead
    trigger: {{after: {{event: brake, delay_s: 5}}}}
    actions:
      - react: {{speed_mps: 14}}

# Cars that nobody listed above, spread over the lanes by the seed.
traffic: {{vehicles: 2, clear_m: 20}}

environment: {{light: 1.0}}
weather: {{rain: 0.3, friction: 0.8}}     # fog_m, snow, glare, patches of another friction
faults: []                              # of sensors, as {{kind: dirty, camera: front, amount: 0.1}}
duration_s: 12

# The nominal twin is a second file, {id}_nominal.yaml:
#   schema_version: 1
#   id: {id}_nominal
#   extends: {id}
#   nominal: true
#   events: []
"""


def starter(family: str) -> str:
    """Text of a new scenario file for ``family``."""
    return STARTER.format(id=family)


def starter_from(name: str, base: str, text: str) -> str:
    """Text of a new scenario that begins as a copy of the library's ``base``, whose file holds
    ``text``: renamed, and with the starter's comments.
    """
    comments = _comments()
    out = [
        f"# Begins as a copy of the library's {base}. See it with",
        f"#   alpamayo scenario lint {name}.yaml",
        f"#   alpamayo scenario show {name}.yaml",
    ]
    for line in text.splitlines():
        key = line.split(":", 1)[0] if line[:1].isalpha() else ""
        if line.startswith("# yaml-language-server"):
            continue  # its path is relative to the library
        if key in ("id", "family"):
            line = f"{key}: {name}"
        out += comments.get(key, [])
        out.append(line)
    return "\n".join(out) + "\n"


def _comments() -> dict[str, list[str]]:
    """Top-level key -> the lines of comment before it in the starter."""
    found: dict[str, list[str]] = {}
    block: list[str] = []
    for line in starter("x").splitlines():
        if line.startswith("#"):
            block.append(line)
            continue
        if line[:1].isalpha() and block:
            found[line.split(":", 1)[0]] = block
        block = []
    found.pop("schema_version", None)  # the head of the file
    return found

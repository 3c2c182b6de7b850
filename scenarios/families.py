"""The 46 families of long-tail situations that the library covers, with their sources.

Sources: N = NHTSA DOT HS 810 767 pre-crash type (with its share of crashes where >= 2 %, from a
public transcription); B = CARLA Leaderboard 2 / Bench2Drive scenario class; E = Euro NCAP 2023/2026
code; R = UN R157 Annex 5 (numbers of the ASAM ALKS set); W = WOD-E2E cluster; I = interPlan; F =
Fail2Drive; BR = Bench2Drive-Robust.
"""

from __future__ import annotations

from dataclasses import dataclass

NOMINAL_TWINS = "nominal_twins"


@dataclass(frozen=True)
class Family:
    """One row of the table; ``group`` is the folder of its scenarios in ``scenarios/library``."""

    number: int
    id: str
    title: str
    sources: str
    group: str


FAMILIES: tuple[Family, ...] = (
    Family(1, "stopped_lead", "lead stopped, stationary target", "N26 (16.4 %), E CCRs/CMRs, R 4.2.1", "longitudinal"),
    Family(2, "hard_lead_brake", "lead brakes hard", "N25 (7.2 %), E CCRb/CMRb, B HardBreakRoute, R 4.3.2", "longitudinal"),
    Family(3, "slow_lead", "slower lead, merging behind slow traffic", "N24 (3.5 %), N23, E CCRm, B MergerIntoSlowTraffic, R 4.3.1", "longitudinal"),
    Family(4, "cut_in", "cut-in from the adjacent lane", "N18 (5.7 %), B HighwayCutIn, R 4.4.1, R 4.4.2, W Cut-ins", "lateral"),
    Family(5, "cut_out_stopped", "cut-out that reveals stopped targets", "R 4.5.1, R 4.5.2", "lateral"),
    Family(6, "partly_blocked_lane", "targets that block the lane partly, or several lanes", "R 4.2.2, R 4.2.4", "obstacle"),
    Family(7, "drifting_neighbour", "swerving or drifting neighbour, side vehicle", "N19, R 4.1.2, R 4.1.3", "lateral"),
    Family(8, "parking_pull_out", "parked car or queued car pulls out", "N17, B ParkingCutIn, StaticCutIn, ParkingExit", "lateral"),
    Family(9, "parked_obstacle", "parked obstacle to go around, one-way and against oncoming", "B ParkedObstacle(TwoWays), I nudge/overtake, W Single-Lane", "obstacle"),
    Family(10, "door_opening", "door opens into the lane", "B VehicleOpensDoorTwoWays, E dooring, W Single-Lane", "obstacle"),
    Family(11, "accident_site", "accident site, people on the road", "B Accident(TwoWays), I accident site", "obstacle"),
    Family(12, "construction_zone", "construction zone, lane closure, flagger, cones", "B ConstructionObstacle(TwoWays), I construction, W Construction", "obstacle"),
    Family(13, "debris", "debris, lost cargo, foreign object", "N35, N36, W FOD, F obstacles", "obstacle"),
    Family(14, "animal_crossing", "animal crosses", "N9, N10 (5.5 %), W FOD, F animals", "obstacle"),
    Family(15, "surface_hazard", "road surface: flood, oil, pothole", "W FOD/Construction", "obstacle"),
    Family(16, "pedestrian_crossing", "pedestrian crosses: adult or child, near or far side", "N11, N12, E CPNA/CPFA, B PedestrianCrossing, R 4.2.3, W Pedestrian", "vulnerable"),
    Family(17, "occluded_pedestrian", "pedestrian from behind an obstruction", "E CPNCO, B DynamicObjectCrossing, ParkingCrossingPedestrian", "vulnerable"),
    Family(18, "pedestrians_on_road", "pedestrians along the road, crowd", "E CPLA, I jaywalkers, W Pedestrian, F PedestriansOnRoad", "vulnerable"),
    Family(19, "pedestrian_while_turning", "pedestrian or cyclist while ego turns", "E CPTA, B VehicleTurningRoutePedestrian", "vulnerable"),
    Family(20, "reversing_pedestrian", "pedestrian behind a reversing vehicle, ego or another", "E CPRA, N8, N15 (2.2 %)", "vulnerable"),
    Family(21, "cyclist_crossing", "cyclist: crossing, along the lane, occluded, falling", "N13, N14, E CBNA/CBFA/CBLA/CBNAO, B CrossingBicycleFlow, W Cyclist", "vulnerable"),
    Family(22, "motorcycle", "powered two-wheeler, fall included", "E CMRs/CMRb/CMFtap/CMCscp, W", "vulnerable"),
    Family(23, "red_light_runner", "red-light or stop-sign runner", "N4 (4.3 %), N5, B OppositeVehicleRunningRedLight", "junction"),
    Family(24, "priority_violation", "priority violation at an unsignalled junction", "N30 (4.4 %), N31 (7.3 %), E CCCscp, B OppositeVehicleTakingPriority", "junction"),
    Family(25, "left_turn_across_path", "left turn across the path", "N27 (3.7 %), N29 (3.2 %), E CCFtap, B SignalizedJunctionLeftTurn, NonSignalizedJunctionLeftTurn", "junction"),
    Family(26, "right_turn_into_flow", "right turn into flow, turning in the same direction", "N16 (3.7 %), N28, B SignalizedJunctionRightTurn", "junction"),
    Family(27, "blocked_junction", "blocked junction, gridlock behind a turn", "B BlockedIntersection, VehicleTurningRoute", "junction"),
    Family(28, "failed_signal", "dead, flashing or stuck signal", "F occluded stop sign, CARLA CrossJunctionDefectTrafficLight", "junction"),
    Family(29, "wrong_way_driver", "oncoming vehicle in ego's lane, head-on", "N20, N21 (2.3 %), E CCFhos/CCFhol, B InvadingTurn", "obstacle"),
    Family(30, "dense_merge", "merge, exit, weaving in dense traffic", "B HighwayExit, EnterActorFlow, SequentialLaneChange, I lane changes, W Multi-Lane", "lateral"),
    Family(31, "shoulder_hazard", "hazard on the shoulder, slow bicycle at the lane's side", "B HazardAtSideLane(TwoWays)", "obstacle"),
    Family(32, "emergency_vehicle", "emergency vehicle, school bus, tram", "B YieldToEmergencyVehicle, W Special Vehicles", "junction"),
    Family(33, "loss_of_control", "another vehicle loses control; ego on low friction", "N2, N3 (10.6 %), B ControlLoss", "lateral"),
    Family(34, "road_edge_departure", "road-edge departure, lane keeping on a curve", "N6, N7 (6.8 %), R 4.1.1, E lane departure", "lateral"),
    Family(35, "evasive_neighbour", "evasive manoeuvre of another", "N32, N33, R 4.5", "lateral"),
    Family(36, "vehicle_failure", "vehicle failure: blow-out, stalled", "N1", "longitudinal"),
    Family(37, "tailgater", "following traffic that would rear-end a braking ego", "N22", "longitudinal"),
    Family(38, "bad_weather", "fog, heavy rain, night, glare, snow", "B weathers, W, F appearance", "conditions"),
    Family(39, "low_friction", "wet, ice", "N3, R speed adaptation", "conditions"),
    Family(40, "short_detection_range", "short sight ahead or to the side", "R 4.6.1, R 4.6.2", "conditions"),
    Family(41, "camera_fault", "frame drop, dead, dirty or miscalibrated camera", "BR camera stream", "faults"),
    Family(42, "ego_state_fault", "pose noise, speed scale error", "BR", "faults"),
    Family(43, "compute_latency", "compute latency", "BR", "faults"),
    Family(44, "odd_appearance", "odd vehicles and objects", "F image-on-prop", "conditions"),
    Family(45, "blocked_route", "blocked route", "I, AlpaSim route discussion", "obstacle"),
    Family(46, NOMINAL_TWINS, "nominal twins of all the above: do not brake for nothing", "F pairing, B Vanilla", ""),
)  # fmt: skip
BY_ID = {family.id: family for family in FAMILIES}

# Older names of families, which results and checkpoints refer to.
ALSO = {"blocked_lane": "construction_zone"}


def family_of(name: str) -> Family | None:
    """The family that a document's ``family`` names; None for ordinary driving."""
    return BY_ID.get(ALSO.get(name, name))

"""The camera against a hand projection, and its promises: occlusion, light, colour, determinism."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, RoadSpec
from sim.config import RigConfig
from sim.roads import MapAtlas
from sim.sensors import Camera

RIG = RigConfig(width_px=168, height_px=84, hfov_deg=60.0, pitch_down_deg=4.0)
ATLAS = MapAtlas()
STRAIGHT = ATLAS.add(RoadSpec(lanes=3))
JUNCTION = ATLAS.add(RoadSpec("junction", lanes=1, oncoming_lanes=1))
CURVE = ATLAS.add(RoadSpec("curve", radius_m=90.0, oncoming_lanes=1, length_m=200.0))
CAMERA = Camera(RIG, ATLAS)
BLUE, RED = (20, 40, 250), (200, 20, 20)
GREEN_SIGNAL, YELLOW_SIGNAL, RED_SIGNAL = range(3)


def scene(*actors, map_id=STRAIGHT, pose=(50.0, 3.5, 0.0), signal=(0, 2), light=1.0, seed=0):
    """Arguments of ``draw`` for one image; actors are (kind, x, y, heading, colour, braking)."""
    slots = 8
    boxes = np.zeros((slots, 7))
    valid, braking = np.zeros(slots, dtype=bool), np.zeros(slots, dtype=bool)
    color, kind = np.zeros((slots, 3), np.uint8), np.zeros(slots, dtype=np.int64)
    for i, (name, x, y, heading, rgb, brake) in enumerate(actors):
        boxes[i] = (x, y, heading, *ACTOR_SIZES_M[name], 0.0)
        valid[i], braking[i], color[i] = True, brake, rgb
        kind[i] = ACTOR_KINDS.index(name)
    return [map_id, pose, boxes, valid, color, kind, signal, light, seed, braking]


def draw(*scenes, camera=CAMERA):
    return camera.draw(*(np.array(column) for column in zip(*scenes, strict=True)))


def hand_projection(points, pose=(50.0, 3.5, 0.0), rig=RIG):
    """Independent oracle: cv2.projectPoints with an explicit rotation."""
    x, y, heading = pose
    eye = np.array([x + rig.mount_x_m * np.cos(heading), y + rig.mount_x_m * np.sin(heading), 0.0])
    eye[2] = rig.mount_height_m
    pitch = np.radians(rig.pitch_down_deg)
    forward = np.array(
        [np.cos(pitch) * np.cos(heading), np.cos(pitch) * np.sin(heading), -np.sin(pitch)]
    )
    right = np.array([np.sin(heading), -np.cos(heading), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = 0.5 * rig.width_px / np.tan(np.radians(0.5 * rig.hfov_deg))
    matrix = np.array(
        [[focal, 0, 0.5 * rig.width_px], [0, focal, 0.5 * rig.height_px], [0, 0, 1.0]]
    )
    pixels, _ = cv2.projectPoints(
        np.asarray(points, dtype=float), cv2.Rodrigues(rotation)[0], -rotation @ eye, matrix, None
    )
    return pixels[:, 0]


def changed(image, empty):
    return np.abs(image.astype(int) - empty.astype(int)).sum(-1) > 40


@pytest.mark.parametrize(
    ("ahead", "left", "heading"),
    [(15.0, 0.0, 0.0), (25.0, -3.5, 0.4), (9.0, 2.0, -0.7), (40.0, 1, 2)],
)
@pytest.mark.parametrize("rig", [RIG, RigConfig()], ids=["tall", "default"])
def test_a_box_covers_the_pixels_a_hand_projection_says(rig, ahead, left, heading):
    camera = Camera(rig, ATLAS)
    x, y = 50.0 + ahead, 3.5 + left
    image, empty = draw(scene(("debris", x, y, heading, BLUE, False)), scene(), camera=camera)
    length, width, height = ACTOR_SIZES_M["debris"]
    cos, sin = np.cos(heading), np.sin(heading)
    corners = [
        (x + cos * a - sin * b, y + sin * a + cos * b, z)
        for a in (-length / 2, length / 2)
        for b in (-width / 2, width / 2)
        for z in (0.0, height)
    ]
    pixels = hand_projection(corners, rig=rig)
    blue = image[..., 2].astype(int) - image[..., 0] > 60
    rows, cols = np.nonzero(blue & changed(image, empty))
    size = (rig.width_px, rig.height_px)
    low = np.clip(pixels.min(axis=0), 0, size)
    high = np.clip(pixels.max(axis=0), 0, size)
    assert abs(cols.min() - low[0]) <= 1.0 and abs(cols.max() + 1 - high[0]) <= 1.0
    assert abs(rows.min() - low[1]) <= 1.0 and abs(rows.max() + 1 - high[1]) <= 1.0


def test_the_road_covers_the_rows_and_columns_a_hand_projection_says():
    image = draw(scene())[0].astype(int)
    right, left = hand_projection([(70.0, -2.75, 0.0), (70.0, 9.75, 0.0)])
    row = int(right[1])
    gray = np.abs(image[row].max(-1) - image[row].min(-1)) < 12
    cols = np.flatnonzero(gray & (image[row, :, 0] < 120))
    assert abs(cols.min() - left[0]) <= 1.5 and abs(cols.max() + 1 - right[0]) <= 1.5


def test_lane_paint_is_dashed_between_lanes_and_solid_at_the_edges():
    image = draw(scene())[0].astype(int)
    bright = {}
    for name, y in (("edge", -1.75), ("dashed", 1.75)):
        points = [(x, y, 0.0) for x in np.arange(60.0, 78.0, 0.5)]
        pixels = np.floor(hand_projection(points)).astype(int)
        bright[name] = image[pixels[:, 1], pixels[:, 0]].min(-1) > 110
    assert bright["edge"].mean() > 0.9
    assert 0.15 < bright["dashed"].mean() < 0.7


def test_nearer_boxes_hide_farther_ones_whatever_their_order():
    near = ("truck", 75.0, 3.5, 0.0, RED, False)
    far = ("car", 95.0, 3.5, 0.0, BLUE, False)
    alone, both, swapped = draw(scene(near), scene(near, far), scene(far, near))
    np.testing.assert_array_equal(alone, both)
    np.testing.assert_array_equal(both, swapped)


def test_a_long_truck_beside_does_not_hide_the_car_in_front_of_the_ego():
    car = ("car", 62.0, 3.5, 0.0, BLUE, False)
    truck = ("truck", 62.0, 7.0, 0.0, RED, False)
    first, second = draw(scene(car, truck), scene(truck, car))
    np.testing.assert_array_equal(first, second)
    row, col = np.floor(hand_projection([(59.7, 3.5, 0.7)])[0][::-1]).astype(int)
    assert first[row, col, 2] > first[row, col, 0] + 60


def test_an_image_does_not_depend_on_its_batch():
    rng = np.random.default_rng(2)
    scenes = []
    for i in range(23):
        map_id, name = [(STRAIGHT, "lane1"), (JUNCTION, "south_west"), (CURVE, "lane0")][i % 3]
        path = ATLAS.path_index(map_id, name)
        start = rng.uniform(20.0, 150.0)
        x, y, heading, _ = ATLAS.pose(map_id, path, start, 0.3)
        actors = []
        for _ in range(rng.integers(0, 8)):
            ax, ay, ah, _ = ATLAS.pose(map_id, path, start + rng.uniform(3, 60), rng.uniform(-4, 4))
            kind = ACTOR_KINDS[rng.integers(len(ACTOR_KINDS))]
            actors.append((kind, ax, ay, ah + rng.uniform(-1, 1), rng.integers(255, size=3), i % 2))
        pose = (float(x), float(y), float(heading))
        scenes.append(scene(*actors, map_id=map_id, pose=pose, seed=i, light=rng.uniform(0.2, 1.0)))
    whole = draw(*scenes)
    again = draw(*scenes)
    singles = np.concatenate([draw(s) for s in scenes])
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_array_equal(whole, singles)
    np.testing.assert_array_equal(whole[::-1], draw(*scenes[::-1]))


def test_light_scales_the_brightness():
    car = ("car", 65.0, 3.5, 0.0, BLUE, False)
    day, dusk = (a.astype(float) for a in draw(scene(car), scene(car, light=0.5)))
    assert dusk.mean() == pytest.approx(0.5 * day.mean(), rel=0.03)
    assert np.abs(dusk - 0.5 * day).max() < 6.0


def test_brake_lamps_light_up_and_glow_at_night():
    def redness(image):
        image = image.astype(int)
        return ((image[..., 0] > 190) & (image[..., 1] < 90) & (image[..., 2] < 90)).sum()

    for distance, least in ((12.0, 20), (30.0, 2)):
        for light in (1.0, 0.3):
            x = 50.0 + distance
            off, on = draw(
                scene(("car", x, 3.5, 0.0, BLUE, False), light=light),
                scene(("car", x, 3.5, 0.0, BLUE, True), light=light),
            )
            assert redness(off) == 0 and redness(on) >= least
    # Not on a car that comes towards us.
    assert redness(draw(scene(("car", 62.0, 3.5, np.pi, BLUE, True)))[0]) == 0


@pytest.mark.parametrize("distance", [4.0, 10.0, 25.0, 40.0, 55.0])
def test_signal_colours_can_be_read_up_to_the_stop_line(distance):
    path = ATLAS.path_index(JUNCTION, "south_north")
    road = ATLAS.map(JUNCTION)
    x, y, heading, _ = ATLAS.pose(JUNCTION, path, road.stop_s_m[path] - distance - 2.4, 0.0)
    pose = (float(x), float(y), float(heading))
    images = draw(
        *(
            scene(map_id=JUNCTION, pose=pose, signal=(state, (state + 2) % 3))
            for state in (GREEN_SIGNAL, YELLOW_SIGNAL, RED_SIGNAL)
        ),
        camera=Camera(RigConfig(), ATLAS),
    ).astype(int)
    images = images[:, :28]  # above the horizon: paint is yellow too
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    looks = {
        GREEN_SIGNAL: (green > 200) & (red < 110) & (blue < 150),
        YELLOW_SIGNAL: (red > 220) & (green > 170) & (blue < 90),
        RED_SIGNAL: (red > 220) & (green < 90) & (blue < 90),
    }
    for state, mask in looks.items():
        # Seen where it shows, and only the colour of this arm's group.
        counts = mask.reshape(3, -1).sum(-1)
        assert counts[state] >= 5
        assert counts[[s for s in range(3) if s != state]].max() == 0


def test_lights_of_the_crossing_road_are_not_seen_while_turning():
    for name in ("south_west", "south_east", "south_north"):
        path = ATLAS.path_index(JUNCTION, name)
        for s in (123.0, 128.0, 133.0, 138.0):
            x, y, heading, _ = ATLAS.pose(JUNCTION, path, s, 0.0)
            pose = (float(x), float(y), float(heading))
            a, b = draw(
                scene(map_id=JUNCTION, pose=pose, signal=(0, 2)),
                scene(map_id=JUNCTION, pose=pose, signal=(2, 0)),
            )
            np.testing.assert_array_equal(a, b)


def test_boxes_that_reach_behind_the_camera_are_clipped_not_dropped():
    # A truck right beside: its side fills the left of the picture and goes on behind.
    image, empty = draw(scene(("truck", 51.0, 6.6, 0.0, RED, False)), scene())
    touched = changed(image, empty)
    assert touched[:, :20].mean() > 0.9
    assert touched[:, 84:].sum() == 0
    # A box behind the ego leaves the picture alone.
    image = draw(scene(("truck", 40.0, 3.5, 0.0, RED, False)))[0]
    np.testing.assert_array_equal(image, empty)


def test_every_kind_can_be_told_from_the_road_at_25_m():
    for kind in ACTOR_KINDS:
        image, empty = draw(scene((kind, 75.0, 3.5, 0.0, (220, 60, 160), False)), scene())
        assert changed(image, empty).sum() >= 6, kind


def test_texture_seeds_change_the_scenery_and_nothing_else_is_random():
    images = draw(*(scene(seed=seed) for seed in range(12)))
    assert len({image.tobytes() for image in images}) >= 4
    np.testing.assert_array_equal(images[3], draw(scene(seed=3))[0])


def test_an_empty_batch_gives_no_images():
    none = [np.array(c)[:0] for c in zip(scene(), strict=True)]
    assert CAMERA.draw(*none).shape == (0, 84, 168, 3)


def test_off_road_and_odd_poses_draw_without_failing():
    rng = np.random.default_rng(6)
    poses = [(*rng.uniform(-250, 250, 2), rng.uniform(-7, 7)) for _ in range(60)]
    images = draw(*(scene(map_id=i % 3, pose=p) for i, p in enumerate(poses)))
    assert images.shape == (60, 84, 168, 3)

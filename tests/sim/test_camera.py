"""One small straight-lens camera against a hand projection, and its promises: occlusion, light,
colour, determinism, and the very pixels that the shipped policy was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, RoadSpec
from sim.config import CameraConfig, RigConfig
from sim.roads import MapAtlas
from sim.sensors import Rig, RigView
from sim.sensors.rig_view import joined
from sim.sensors.sheet import Seen, view_of

LENS = CameraConfig(hfov_deg=60.0, pitch_down_deg=4.0)
TALL = RigConfig(width_px=168, height_px=84, cameras=(LENS,))
ATLAS = MapAtlas()
STRAIGHT = ATLAS.add(RoadSpec(lanes=3))
JUNCTION = ATLAS.add(RoadSpec("junction", lanes=1, oncoming_lanes=1))
CURVE = ATLAS.add(RoadSpec("curve", radius_m=90.0, oncoming_lanes=1, length_m=200.0))
RIG = Rig(TALL, ATLAS)
DEFAULT = Rig(RigConfig(), ATLAS)
BLUE, RED = (20, 40, 250), (200, 20, 20)
GREEN_SIGNAL, YELLOW_SIGNAL, RED_SIGNAL, DARK_SIGNAL, FLASHING_SIGNAL = range(5)


def scene(*actors, map_id=STRAIGHT, pose=(50.0, 3.5, 0.0), **more):
    return view_of(map_id, pose, actors, slots=8, **more)


def draw(*scenes, rig=RIG):
    """Images [n, H, W, 3] of the first camera."""
    return rig.draw(joined(scenes))[:, 0]


def hand_projection(points, pose=(50.0, 3.5, 0.0), config=TALL):
    """Independent oracle: cv2.projectPoints with an explicit rotation."""
    camera = config.cameras[0]
    x, y, heading = pose
    eye = np.array(
        [
            x + camera.mount_x_m * np.cos(heading),
            y + camera.mount_x_m * np.sin(heading),
            camera.mount_height_m,
        ]
    )
    pitch = np.radians(camera.pitch_down_deg)
    forward = np.array(
        [np.cos(pitch) * np.cos(heading), np.cos(pitch) * np.sin(heading), -np.sin(pitch)]
    )
    right = np.array([np.sin(heading), -np.cos(heading), 0.0])
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = 0.5 * config.width_px / np.tan(np.radians(0.5 * camera.hfov_deg))
    matrix = np.array(
        [[focal, 0, 0.5 * config.width_px], [0, focal, 0.5 * config.height_px], [0, 0, 1.0]]
    )
    pixels, _ = cv2.projectPoints(
        np.asarray(points, dtype=float), cv2.Rodrigues(rotation)[0], -rotation @ eye, matrix, None
    )
    return pixels[:, 0]


def changed(image, empty):
    return np.abs(image.astype(int) - empty.astype(int)).sum(-1) > 40


# The first 32 digits of the SHA-256 of the images of ``trained_views``.
TRAINED = {
    "straight": "497071ce89b0f66afe267049c079e27c",
    "curve": "f8c09401f581beddd6eb7d27e033e65a",
    "junction": "cc2280df2a878dd5b3095c735710bd60",
    "merge": "1f7093c971f86207f7833d7805dd0773",
}
TRAINED_ON = {
    "straight": (RoadSpec(lanes=3, oncoming_lanes=1), "lane1", 60.0),
    "curve": (RoadSpec("curve", radius_m=-90.0, oncoming_lanes=1, length_m=200.0), "lane0", 70.0),
    "junction": (RoadSpec("junction", lanes=1, oncoming_lanes=1), "south_west", 100.0),
    "merge": (RoadSpec("merge"), "lane0", 90.0),
}
TRAINED_KINDS = (
    "car", "van", "truck", "motorcycle", "cyclist", "pedestrian", "cone", "barrier", "debris",
)  # fmt: skip


def trained_views():
    """On each road nine actors at fixed places around the ego's path."""
    views = []
    for r, (spec, path, start) in enumerate(TRAINED_ON.values()):
        map_id = ATLAS.add(spec)
        number = ATLAS.path_index(map_id, path)
        pose = [float(v) for v in ATLAS.pose(map_id, number, start, 0.2 * r)[:3]]
        actors = []
        for i, kind in enumerate(TRAINED_KINDS):
            s, d = start + 6.0 + 4.7 * i, (-3.4, 0.3, 3.1)[i % 3]
            x, y, heading, _ = (float(v) for v in ATLAS.pose(map_id, number, s, d))
            color = (40 + 23 * i, 220 - 21 * i, (77 * i) % 256)
            actors.append(Seen(kind, x, y, heading + 0.35 * i, color, braking=i % 2 == 0))
        signal, light = (r % 3, (r + 1) % 3), 1.0 - 0.15 * r
        views.append(view_of(map_id, pose, actors, signal=signal, light=light, seed=11 * r + 3))
    return views


def test_the_default_rig_draws_the_pixels_that_policies_were_trained_on():
    images = draw(*trained_views(), rig=DEFAULT)
    found = [hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images]
    assert dict(zip(TRAINED, found, strict=True)) == TRAINED


@pytest.mark.parametrize(
    ("ahead", "left", "heading"),
    [(15.0, 0.0, 0.0), (25.0, -3.5, 0.4), (9.0, 2.0, -0.7), (40.0, 1, 2)],
)
@pytest.mark.parametrize("rig", [RIG, DEFAULT], ids=["tall", "default"])
def test_a_box_covers_the_pixels_a_hand_projection_says(rig, ahead, left, heading):
    config = rig.config
    x, y = 50.0 + ahead, 3.5 + left
    image, empty = draw(scene(Seen("debris", x, y, heading, BLUE)), scene(), rig=rig)
    length, width, height = ACTOR_SIZES_M["debris"]
    cos, sin = np.cos(heading), np.sin(heading)
    corners = [
        (x + cos * a - sin * b, y + sin * a + cos * b, z)
        for a in (-length / 2, length / 2)
        for b in (-width / 2, width / 2)
        for z in (0.0, height)
    ]
    pixels = hand_projection(corners, config=config)
    blue = image[..., 2].astype(int) - image[..., 0] > 60
    rows, cols = np.nonzero(blue & changed(image, empty))
    size = (config.width_px, config.height_px)
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
    near = Seen("truck", 75.0, 3.5, 0.0, RED)
    far = Seen("car", 95.0, 3.5, 0.0, BLUE)
    alone, both, swapped = draw(scene(near), scene(near, far), scene(far, near))
    np.testing.assert_array_equal(alone, both)
    np.testing.assert_array_equal(both, swapped)


def test_a_long_truck_beside_does_not_hide_the_car_in_front_of_the_ego():
    car = Seen("car", 62.0, 3.5, 0.0, BLUE)
    truck = Seen("truck", 62.0, 7.0, 0.0, RED)
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
        pose = [float(v) for v in ATLAS.pose(map_id, path, start, 0.3)[:3]]
        actors = []
        for _ in range(rng.integers(0, 8)):
            ax, ay, ah, _ = ATLAS.pose(map_id, path, start + rng.uniform(3, 60), rng.uniform(-4, 4))
            kind = ACTOR_KINDS[rng.integers(len(ACTOR_KINDS))]
            color = tuple(rng.integers(255, size=3))
            turned = float(ah) + rng.uniform(-1, 1)
            actors.append(Seen(kind, float(ax), float(ay), turned, color, braking=i % 2 == 0))
        light = rng.uniform(0.2, 1.0)
        scenes.append(scene(*actors, map_id=map_id, pose=pose, seed=i, light=light))
    whole, again = draw(*scenes), draw(*scenes)
    singles = np.concatenate([draw(s) for s in scenes])
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_array_equal(whole, singles)
    np.testing.assert_array_equal(whole[::-1], draw(*scenes[::-1]))
    fresh = Rig(TALL, ATLAS)
    np.testing.assert_array_equal(whole[5:9], draw(*scenes[5:9], rig=fresh))


def test_light_scales_the_brightness():
    car = Seen("car", 65.0, 3.5, 0.0, BLUE)
    day, dusk = (a.astype(float) for a in draw(scene(car, light=1.0), scene(car, light=0.5)))
    assert dusk.mean() == pytest.approx(0.5 * day.mean(), rel=0.03)
    assert np.abs(dusk - 0.5 * day).max() < 6.0


def test_brake_lamps_light_up_and_glow_at_night():
    def redness(image):
        image = image.astype(int)
        return ((image[..., 0] > 190) & (image[..., 1] < 90) & (image[..., 2] < 90)).sum()

    for distance, least in ((12.0, 20), (30.0, 2)):
        for light in (1.0, 0.3):
            car = Seen("car", 50.0 + distance, 3.5, 0.0, BLUE)
            off, on = draw(scene(car, light=light), scene(replace(car, braking=True), light=light))
            assert redness(off) == 0 and redness(on) >= least
    # Not on a car that comes towards us.
    assert redness(draw(scene(Seen("car", 62.0, 3.5, np.pi, BLUE, braking=True)))[0]) == 0


def signal_views(distance, states, **more):
    """Before the south arm's stop line."""
    path = ATLAS.path_index(JUNCTION, "south_north")
    stop_s = float(ATLAS.map(JUNCTION).lanes["stop_s"][path])
    pose = [float(v) for v in ATLAS.pose(JUNCTION, path, stop_s - distance - 2.4, 0.0)[:3]]
    return [
        scene(map_id=JUNCTION, pose=pose, signal=(state, (state + 2) % 3), **more)
        for state in states
    ]


def lamp_colours(images):
    """How many pixels above the horizon (paint is yellow too) look green, yellow, red [n, 3]."""
    images = images[:, :28].astype(int)
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    looks = [
        (green > 200) & (red < 110) & (blue < 150),
        (red > 220) & (green > 170) & (blue < 90),
        (red > 220) & (green < 90) & (blue < 90),
    ]
    return np.stack([mask.reshape(len(images), -1).sum(-1) for mask in looks], axis=-1)


@pytest.mark.parametrize("distance", [4.0, 10.0, 25.0, 40.0, 55.0])
def test_signal_colours_can_be_read_up_to_the_stop_line(distance):
    states = (GREEN_SIGNAL, YELLOW_SIGNAL, RED_SIGNAL)
    counts = lamp_colours(draw(*signal_views(distance, states), rig=DEFAULT))
    # Seen where it shows, and only the colour of this arm's group.
    assert (np.diagonal(counts) >= 5).all()
    assert counts.sum() == np.trace(counts)


def test_dark_signals_show_nothing_and_flashing_ones_blink_yellow():
    shown = [
        lamp_colours(draw(*signal_views(10.0, (state,), time_s=time_s), rig=DEFAULT))[0]
        for state in (DARK_SIGNAL, FLASHING_SIGNAL)
        for time_s in (0.0, 0.4)
    ]
    assert (np.array(shown)[[0, 1, 3]] == 0).all()
    assert shown[2][1] >= 5 and shown[2][[0, 2]].max() == 0


def test_lights_of_the_crossing_road_are_not_seen_while_turning():
    for name in ("south_west", "south_east", "south_north"):
        path = ATLAS.path_index(JUNCTION, name)
        for s in (123.0, 128.0, 133.0, 138.0):
            pose = [float(v) for v in ATLAS.pose(JUNCTION, path, s, 0.0)[:3]]
            a, b = draw(
                scene(map_id=JUNCTION, pose=pose, signal=(0, 2)),
                scene(map_id=JUNCTION, pose=pose, signal=(2, 0)),
            )
            np.testing.assert_array_equal(a, b)


def test_boxes_that_reach_behind_the_camera_are_clipped_not_dropped():
    # A truck right beside: its side fills the left of the picture and goes on behind.
    image, empty = draw(scene(Seen("truck", 51.0, 6.6, 0.0, RED)), scene())
    touched = changed(image, empty)
    assert touched[:, :20].mean() > 0.9
    assert touched[:, 84:].sum() == 0
    # A box behind the ego leaves the picture alone.
    image = draw(scene(Seen("truck", 40.0, 3.5, 0.0, RED)))[0]
    np.testing.assert_array_equal(image, empty)


def test_every_kind_can_be_told_from_the_road_at_25_m():
    for kind in ACTOR_KINDS:
        image, empty = draw(scene(Seen(kind, 75.0, 3.5, 0.0, (220, 60, 160))), scene())
        least = 2 if kind in ("ball", "door") else 6
        assert changed(image, empty).sum() >= least, kind


def test_texture_seeds_change_the_scenery_and_nothing_else_is_random():
    images = draw(*(scene(seed=seed) for seed in range(12)))
    assert len({image.tobytes() for image in images}) >= 4
    np.testing.assert_array_equal(images[3], draw(scene(seed=3))[0])


def test_an_empty_batch_gives_no_images():
    none: RigView = scene().rows(slice(0, 0))
    assert RIG.draw(none).shape == (0, 1, 84, 168, 3)
    assert RIG.segment(none).shape == (0, 1, 84, 168)


def test_off_road_and_odd_poses_draw_without_failing():
    rng = np.random.default_rng(6)
    poses = [(*rng.uniform(-250, 250, 2), rng.uniform(-7, 7)) for _ in range(60)]
    images = draw(*(scene(map_id=i % 3, pose=p) for i, p in enumerate(poses)))
    assert images.shape == (60, 84, 168, 3)

"""Rigs of several cameras: where things appear, what hides what, and what can be told apart."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, RequestError, RoadSpec
from sim.config import CameraConfig, RigConfig, alpamayo_rig
from sim.roads import MapAtlas
from sim.sensors import Rig, scenery
from sim.sensors.models import CLASSES
from sim.sensors.rig_view import joined
from sim.sensors.sheet import Seen, view_of

ATLAS = MapAtlas()
STRAIGHT = ATLAS.add(RoadSpec(lanes=3))
POSE = (50.0, 3.5, 0.3)
VEHICLE, ROAD, MARKING, GROUND, SKY = (
    CLASSES.index(name) for name in ("vehicle", "road", "marking", "ground", "sky")
)
SIDE = CameraConfig("side", 70.0, 1.2, -0.9, 1.4, -50.0, 6.0)
WIDE = CameraConfig("wide", 120.0, 1.2, 0.9, 1.6, 35.0, 4.0, "f_theta")
FISHEYE = CameraConfig("fish", 200.0, 0.5, 0.0, 1.8, 20.0, 10.0, "f_theta")
SIZE = (256, 160)


def rig_of(*cameras, atlas=ATLAS, size=SIZE, **more):
    return Rig(RigConfig(*size, 1, 0.4, more.pop("supersample", 1), cameras), atlas)


def rotation_and_eye(camera, pose, z=0.0, grade=0.0):
    """Rows right, down, forward of a camera in the world, and where it is: built step by step from
    the ego's axes."""
    x, y, heading = pose
    ahead = np.array(
        [np.cos(grade) * np.cos(heading), np.cos(grade) * np.sin(heading), np.sin(grade)]
    )
    left = np.array([-np.sin(heading), np.cos(heading), 0.0])
    up = np.cross(ahead, left)
    eye = np.array([x, y, z])
    eye = eye + camera.mount_x_m * ahead + camera.mount_y_m * left + camera.mount_height_m * up
    yaw, pitch = np.radians(camera.yaw_deg), np.radians(camera.pitch_down_deg)
    level = np.cos(yaw) * ahead + np.sin(yaw) * left
    forward = np.cos(pitch) * level - np.sin(pitch) * up
    right = np.sin(yaw) * ahead - np.cos(yaw) * left
    return np.stack([right, np.cross(forward, right), forward]), eye


def pinhole_pixels(camera, points, pose, z=0.0, grade=0.0):
    """By cv2.projectPoints."""
    rotation, eye = rotation_and_eye(camera, pose, z, grade)
    focal = 0.5 * SIZE[0] / np.tan(np.radians(0.5 * camera.hfov_deg))
    matrix = np.array([[focal, 0, 0.5 * SIZE[0]], [0, focal, 0.5 * SIZE[1]], [0, 0, 1.0]])
    vector = cv2.Rodrigues(rotation)[0]
    pixels, _ = cv2.projectPoints(np.asarray(points, float), vector, -rotation @ eye, matrix, None)
    return pixels[:, 0]


def f_theta_pixels(camera, points, pose, z=0.0, grade=0.0):
    """By the closed form: the radius is proportional to the angle off the axis."""
    rotation, eye = rotation_and_eye(camera, pose, z, grade)
    x, y, ahead = rotation @ (np.asarray(points, float) - eye).T
    angle = np.arctan2(np.hypot(x, y), ahead)
    radius = 0.5 * SIZE[0] / np.radians(0.5 * camera.hfov_deg) * angle
    around = np.hypot(x, y)
    return np.stack([0.5 * SIZE[0] + radius * x / around, 0.5 * SIZE[1] + radius * y / around], -1)


def around_camera(camera, pose, angle_deg, distance):
    """A place on the ground so far beside the optical axis, to the left."""
    _, eye = rotation_and_eye(camera, pose)
    heading = pose[2] + np.radians(camera.yaw_deg + angle_deg)
    return eye[0] + distance * np.cos(heading), eye[1] + distance * np.sin(heading)


def thin(kind, x, y, base_z=0.0):
    """A post of 20 cm: a point, nearly."""
    return Seen(kind, x, y, 0.4, (230, 30, 200), base_z=base_z, size_m=(0.2, 0.2, 0.2))


def centre_of(mask):
    rows, cols = np.nonzero(mask)
    return np.array([cols.mean() + 0.5, rows.mean() + 0.5])


@pytest.mark.parametrize("grade", [0.0, 0.08])
@pytest.mark.parametrize("angle_deg", [-25.0, -8.0, 14.0, 30.0])
@pytest.mark.parametrize(("camera", "oracle"), [(SIDE, pinhole_pixels), (WIDE, f_theta_pixels)])
def test_things_are_where_projectpoints_and_the_closed_form_say(camera, oracle, angle_deg, grade):
    rig = rig_of(camera)
    for distance, base in ((5.0, 0.3), (11.0, 1.2)):
        x, y = around_camera(camera, POSE, angle_deg, distance)
        want = oracle(camera, [(x, y, base + 0.1)], POSE, 0.0, grade)[0]
        view = view_of(STRAIGHT, POSE, [thin("debris", x, y, base)], ego_pitch=grade)
        found = rig.segment(view)[0, 0] == CLASSES.index("object")
        assert found.any()
        assert np.abs(centre_of(found) - want).max() < 1.0


@pytest.mark.parametrize("angle_deg", [-104.0, -96.0, -60.0, 0.0, 75.0, 93.0, 103.0])
def test_a_fisheye_sees_behind_its_image_plane(angle_deg):
    camera = replace(FISHEYE, hfov_deg=214.0, pitch_down_deg=0.0)
    x, y = around_camera(camera, POSE, angle_deg, 6.0)
    view = view_of(STRAIGHT, POSE, [thin("debris", x, y, 1.6)])
    found = rig_of(camera).segment(view)[0, 0] == CLASSES.index("object")
    want = f_theta_pixels(camera, [(x, y, 1.7)], POSE)[0]
    assert np.abs(centre_of(found) - want).max() < 1.0


@pytest.mark.parametrize("camera", [WIDE, FISHEYE])
def test_a_lens_bends_straight_lines(camera):
    """Every pixel of the road's paint lies where the closed form puts the line."""
    rig = rig_of(replace(camera, yaw_deg=90.0, pitch_down_deg=15.0))
    bent = rig.config.cameras[0]
    pose = (50.0, 5.8, 0.0)
    labels = rig.segment(view_of(STRAIGHT, pose))[0, 0]
    line = [(50.5 + s, 8.75, 0.0) for s in np.linspace(-25.0, 25.0, 800)]
    pixels = f_theta_pixels(bent, line, pose)
    inside = (pixels > 2).all(-1) & (pixels < np.array(SIZE) - 2).all(-1)
    cols, rows = np.floor(pixels[inside]).astype(int).T
    near = np.abs(np.array(line)[inside, 0] - 50.5) < 2.5  # farther out it is thinner than a pixel
    assert near.sum() > 50
    assert (labels[rows[near], cols[near]] == MARKING).mean() > 0.97


def test_the_horizon_is_where_level_rays_go():
    checked = 0
    for camera in (SIDE, WIDE, FISHEYE):
        labels = rig_of(camera).segment(view_of(STRAIGHT, (500.0, 500.0, 0.0)))[0, 0]
        project = f_theta_pixels if camera.lens == "f_theta" else pinhole_pixels
        _, eye = rotation_and_eye(camera, (0.0, 0.0, 0.0))
        for beside in np.radians(np.linspace(-0.4, 0.4, 7) * camera.hfov_deg):
            angle = beside + np.radians(camera.yaw_deg)
            far = eye + 100.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
            i, j = project(camera, [far], (0.0, 0.0, 0.0))[0]
            if 2 < i < SIZE[0] - 2 and 3 < j < SIZE[1] - 3:
                assert labels[int(j - 2), int(i)] == SKY
                assert labels[int(j + 2), int(i)] == GROUND
                checked += 1
    assert checked > 12


def test_cameras_look_where_they_are_turned():
    cameras = tuple(
        CameraConfig(name, 80.0, 0.0, 0.0, 1.5, yaw)
        for name, yaw in (("front", 0.0), ("left", 90.0), ("rear", 180.0), ("right", -90.0))
    )
    rig = rig_of(*cameras)
    spots = [(62.0, 3.5), (50.0, 15.5), (38.0, 3.5), (50.0, -8.5)]
    for i, (x, y) in enumerate(spots):
        view = view_of(STRAIGHT, (50.0, 3.5, 0.0), [Seen("car", x, y)])
        seen = (rig.segment(view)[0] == VEHICLE).sum(axis=(1, 2)) > 50
        np.testing.assert_array_equal(seen, np.arange(4) == i)
    turned = view_of(
        STRAIGHT, (50.0, 3.5, 0.0), [Seen("car", 62.0, 3.5)], turned_deg=[90.0, 0, 0, -90]
    )
    # Turned to the left the front camera loses it, and the right one looks to the rear.
    assert ((rig.segment(turned)[0] == VEHICLE).sum(axis=(1, 2)) > 50).tolist() == [False] * 4


def test_rows_of_a_batch_do_not_touch_each_other():
    rig = Rig(alpamayo_rig(96, 64, 1), ATLAS)
    rng = np.random.default_rng(1)
    views = []
    for i in range(9):
        actors = [
            Seen(ACTOR_KINDS[rng.integers(13)], *rng.uniform([30, -8], [110, 12]),
                 rng.uniform(-3, 3), tuple(rng.integers(255, size=3)), braking=bool(i % 2),
                 indicator=i % 3)
            for _ in range(rng.integers(0, 7))
        ]  # fmt: skip
        weather = {"rain": 0.5 * (i % 2), "snow": 0.4 * (i % 3 == 0), "light": 1.0 - 0.1 * i}
        views.append(
            view_of(
                STRAIGHT, (50.0 + i, 3.5, 0.1 * i), actors, slots=7, seed=i, time_s=0.4 * i,
                glare=0.1 * i, fog_m=np.inf if i % 2 else 80.0, ego_pitch=0.01 * i,
                dirty=[0.1 * (i % 2), 0.0, 0.0, 0.0], **weather,
            )
        )  # fmt: skip
    whole = rig.draw(joined(views))
    singles = np.concatenate([rig.draw(view) for view in views[::-1]])[::-1]
    np.testing.assert_array_equal(whole, singles)
    buffer = np.zeros((12, 9, 64, 96, 3), dtype=np.uint8)
    rig.draw_into(joined(views[:2]), buffer, np.array([7, 3]), np.array([8, 0, 5, 2]))
    np.testing.assert_array_equal(buffer[7, [8, 0, 5, 2]], whole[0])
    np.testing.assert_array_equal(buffer[3, [8, 0, 5, 2]], whole[1])
    assert not buffer[[0, 1, 2, 4]].any() and not buffer[7, [1, 3, 4, 6, 7]].any()


def test_segmentation_has_the_images_outlines():
    rig = rig_of(SIDE, WIDE)
    actors = [
        Seen("truck", 58.0, -6.0, 1.0, (250, 0, 250)),
        Seen("car", 60.0, 9.0, 0.3, (250, 0, 250)),
    ]
    view, empty = view_of(STRAIGHT, POSE, actors), view_of(STRAIGHT, POSE, slots=2)
    images, bare = rig.draw(view)[0].astype(int), rig.draw(empty)[0].astype(int)
    labels = rig.segment(view)[0]
    pink = (images[..., 0] > images[..., 1] + 60) & (images[..., 2] > images[..., 1] + 60)
    assert pink.sum() > 400
    assert (labels[pink] == VEHICLE).mean() > 0.97
    untouched = (np.abs(images - bare).sum(-1) == 0) & (labels == VEHICLE)
    assert untouched.sum() < 0.02 * (labels == VEHICLE).sum()


def test_every_class_is_found_in_some_scene():
    street = ATLAS.add(RoadSpec("parking_street", lanes=1))
    crossing = ATLAS.add(RoadSpec("junction", lanes=1, oncoming_lanes=1))
    tee = ATLAS.add(RoadSpec("t_junction", lanes=1, oncoming_lanes=1))
    rig = rig_of(CameraConfig(hfov_deg=90.0), size=(512, 320))
    kinds = ("car", "cyclist", "pedestrian", "animal", "cone")
    actors = [Seen(kind, 60.0, -2.0 + 2.0 * i) for i, kind in enumerate(kinds)]
    found = set(np.unique(rig.segment(view_of(STRAIGHT, (50.0, 3.5, 0.0), actors))))
    for map_id, start in ((street, 60.0), (crossing, 90.0), (tee, 40.0)):
        for path in range(len(ATLAS.map(map_id).names)):
            for s in (start, start + 30.0, start + 55.0):
                pose = [float(v) for v in ATLAS.pose(map_id, path, s, 0.0)[:3]]
                found |= set(np.unique(rig.segment(view_of(map_id, pose))))
    assert found == set(range(len(CLASSES)))


def test_indicators_blink_on_their_side_and_reversing_lights_are_white():
    rig = rig_of(CameraConfig(hfov_deg=40.0), size=(320, 200))
    car = Seen("car", 62.0, 3.5, 0.0, (30, 30, 120))

    def amber(**changes):
        time_s = changes.pop("time_s", 0.0)
        view = view_of(STRAIGHT, (50.0, 3.5, 0.0), [replace(car, **changes)], time_s=time_s)
        image = rig.draw(view)[0, 0].astype(int)
        mask = (image[..., 0] > 220) & (np.abs(image[..., 1] - 160) < 40) & (image[..., 2] < 90)
        return mask[:, :160].sum(), mask[:, 160:].sum()

    assert amber() == (0, 0)
    left, right = amber(indicator=1), amber(indicator=-1)
    assert left[0] > 10 and left[1] == 0 and right[0] == 0 and right[1] > 10
    assert amber(indicator=2) == (left[0], right[1])
    assert amber(indicator=1, time_s=0.4) == (0, 0)

    def whites(reversing):
        view = view_of(STRAIGHT, (50.0, 3.5, 0.0), [replace(car, reversing=reversing)])
        image = rig.draw(view)[0, 0, 90:150, 120:200]
        return (image.min(-1) > 230).sum()

    assert whites(True) > whites(False) + 10


def test_a_crest_hides_what_is_behind_it():
    map_id = ATLAS.add(RoadSpec("crest", lanes=2, oncoming_lanes=0, length_m=400.0, rise_m=8.0))
    samples = ATLAS.map(map_id).path_samples(0)
    top = int(np.argmax(samples[:, 6]))
    assert samples[top, 6] > 6.0
    rig = rig_of(CameraConfig(hfov_deg=50.0), size=(320, 200))

    def seen(at, ahead):
        x, y, heading, z = samples[at, [0, 1, 2, 6]]
        grade = float(np.arctan(samples[at + 1, 6] - z))
        cx, cy, ch, cz = samples[at + ahead, [0, 1, 2, 6]]
        car = Seen("car", cx, cy, ch, base_z=float(cz))
        view = view_of(map_id, (x, y, heading, z), [car], ego_pitch=grade)
        return (rig.segment(view)[0, 0] == VEHICLE).sum()

    # From low on the slope the car behind the top is hidden; from the top itself it is seen, and
    # so is one as far away but still on this side.
    assert seen(top - 60, 110) == 0
    assert seen(top - 5, 55) > 40
    assert seen(top - 60, 45) > 40


def test_nothing_near_is_lost_between_cells(monkeypatch):
    """The same pictures as if everything on the map were looked at."""
    config = RigConfig(
        *SIZE, 1, 0.4, 1, (CameraConfig(hfov_deg=80.0), replace(WIDE, yaw_deg=140.0))
    )
    maps = [
        ATLAS.add(RoadSpec(kind, lanes=1, oncoming_lanes=1))
        for kind in ("roundabout", "t_junction", "junction")
    ]
    rng = np.random.default_rng(3)
    views = []
    for i in range(24):
        samples = ATLAS.map(maps[i % 3]).samples
        pose = samples[rng.integers(len(samples)), :3] + rng.normal(0, 2, 3)
        views.append(view_of(maps[i % 3], pose))
    indexed = Rig(config, ATLAS).draw(joined(views))
    monkeypatch.setattr(scenery, "SMALL_M", -1.0)
    np.testing.assert_array_equal(Rig(config, ATLAS).draw(joined(views)), indexed)


def test_kerbs_crossings_and_signs_can_be_seen():
    tee = ATLAS.add(RoadSpec("t_junction", lanes=1, oncoming_lanes=1))
    road = ATLAS.map(tee)
    x, y, heading, _ = road.signs[0]
    away = 7.0
    pose = (x + away * np.cos(heading), y + away * np.sin(heading), heading + np.pi)
    rig = rig_of(CameraConfig(hfov_deg=50.0, mount_x_m=0.0), size=(320, 200))
    view = view_of(tee, pose)
    image, labels = rig.draw(view)[0, 0].astype(int), rig.segment(view)[0, 0]
    sign = labels == CLASSES.index("sign")
    red = (image[..., 0] > 150) & (image[..., 1] < 90)
    white = image.min(-1) > 200
    assert sign.sum() > 100 and red[sign].mean() > 0.2 and white[sign].mean() > 0.05
    # From behind there is no red on it.
    back = (x - away * np.cos(heading), y - away * np.sin(heading), heading)
    view = view_of(tee, back)
    image, labels = rig.draw(view)[0, 0].astype(int), rig.segment(view)[0, 0]
    sign = labels == CLASSES.index("sign")
    assert sign.sum() > 100 and not ((image[..., 0] > 150) & (image[..., 1] < 90))[sign].any()


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (RigConfig(cameras=()), "cameras"),
        (RigConfig(cameras=(CameraConfig(hfov_deg=180.0),)), "hfov_deg"),
        (RigConfig(cameras=(CameraConfig(hfov_deg=230.0, lens="f_theta"),)), "hfov_deg"),
        (RigConfig(64, 128, cameras=(CameraConfig(hfov_deg=120.0, lens="f_theta"),)), "hfov_deg"),
        (RigConfig(cameras=(CameraConfig(), CameraConfig())), "names"),
        (RigConfig(width_px=4), "width_px"),
        (RigConfig(supersample=0), "supersample"),
    ],
)
def test_impossible_rigs_are_refused_with_the_place(config, place):
    with pytest.raises(RequestError, match=place):
        Rig(config, ATLAS)


@pytest.mark.parametrize("supersample", [1, 2, 3])
def test_supersampling_changes_edges_only(supersample):
    view = view_of(STRAIGHT, (50.0, 3.5, 0.0), [Seen("van", 62.0, 5.0, 0.4)])
    camera = CameraConfig(hfov_deg=60.0)
    fine = rig_of(camera, supersample=4).draw(view)[0, 0].astype(int)
    image = rig_of(camera, supersample=supersample).draw(view)[0, 0].astype(int)
    assert (np.abs(image - fine).max(-1) > 40).mean() < 0.03
    assert ACTOR_SIZES_M["van"][2] > 2.0

"""Weather, light and broken cameras: what they do to images, and that calm costs nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alpamayo.streams import STREAM_TEXTURE
from alpamayo.types import RoadSpec
from sim.config import CameraConfig, RigConfig
from sim.draws import bits
from sim.roads import MapAtlas
from sim.sensors import Rig, weather
from sim.sensors.models import CLASSES
from sim.sensors.rig_view import joined
from sim.sensors.sheet import Seen, view_of

ATLAS = MapAtlas()
STRAIGHT = ATLAS.add(RoadSpec(lanes=3, length_m=600.0))
CAMERA = CameraConfig(hfov_deg=50.0, pitch_down_deg=2.0)
CONFIG = RigConfig(256, 160, 1, 0.4, 1, (CAMERA,))
RIG = Rig(CONFIG, ATLAS)
FOCAL = 128.0 / math.tan(math.radians(25.0))
POSE = (50.0, 3.5, 0.0)


def draw(*views, rig=RIG):
    return rig.draw(joined(views))[:, 0].astype(int)


def view(*actors, **more):
    return view_of(STRAIGHT, POSE, actors, slots=4, seed=more.pop("seed", 4), **more)


def wall(distance, color):
    """A box as wide as the road, its face ``distance`` ahead of the camera."""
    return Seen("debris", 50.8 + distance + 0.5, 3.5, 0.0, color, size_m=(1.0, 12.0, 4.0))


def face_colour(image, distance):
    """In the middle of the wall's face, above the horizon."""
    top = 80 - FOCAL * math.tan(math.radians(2.0)) - FOCAL * 2.0 / distance
    return image[int(max(top, 2.0)), 128].astype(float)


@pytest.mark.parametrize("fog_m", [50.0, 120.0])
def test_contrast_falls_with_distance_as_koschmieder_says(fog_m):
    """Two walls of different colours keep exp(-3 d / fog_m) of their difference."""
    for distance in (15.0, 40.0, 80.0):
        black = wall(distance, (0, 0, 0))
        white = wall(distance, (255, 255, 255))
        clear = [face_colour(i, distance) for i in draw(view(black), view(white))]
        foggy = [
            face_colour(i, distance)
            for i in draw(view(black, fog_m=fog_m), view(white, fog_m=fog_m))
        ]
        kept = (foggy[1] - foggy[0]) / (clear[1] - clear[0])
        assert kept == pytest.approx(math.exp(-3.0 * distance / fog_m), abs=0.02)


def test_fog_takes_the_ground_by_its_distance_too():
    clear, foggy = draw(view(), view(fog_m=60.0))
    fog = foggy[75, 10].astype(float)  # the ground just below the horizon is all fog
    for row in (85, 95, 110, 140):
        drop = math.atan((row + 0.5 - 80.0) / FOCAL) + math.radians(2.0)
        distance = CAMERA.mount_height_m / math.sin(drop)
        kept = (foggy[row, 128] - fog) / (clear[row, 128] - fog)
        assert kept.mean() == pytest.approx(math.exp(-3.0 * distance / 60.0), abs=0.06)
    # The sky fades as well, least overhead.
    assert np.abs(foggy[70, 128] - fog).max() < 6
    thin = draw(view(fog_m=1500.0))[0]
    whitened = np.abs(thin - clear)[:70, 128].sum(-1)
    assert whitened[68] > 1.4 * whitened[0]


def test_rain_and_snow_move_with_time_and_are_the_same_again():
    for kind in ("rain", "snow"):
        first, same, later, other = draw(
            view(time_s=1.0, **{kind: 0.7}),
            view(time_s=1.0, **{kind: 0.7}),
            view(time_s=1.4, **{kind: 0.7}),
            view(time_s=1.0, seed=8, **{kind: 0.7}),
        )
        np.testing.assert_array_equal(first, same)
        sky = np.s_[:60]
        moved = (np.abs(first[sky] - later[sky]).sum(-1) > 12).mean()
        assert 0.02 < moved < 0.6
        assert (first != other).any()
        light, heavy = draw(view(**{kind: 0.2}), view(**{kind: 1.0}))
        busy = [np.abs(np.diff(i[sky].sum(-1), axis=1)).mean() for i in (light, heavy)]
        assert busy[1] > 2.0 * busy[0]


def test_snow_whitens_the_ground_and_rain_darkens_the_road():
    clear, snow, rain = draw(view(), view(snow=0.9), view(rain=0.9))
    near_road, grass = np.s_[145:155, 100:156], np.s_[100:110, 2:14]
    assert snow[grass].mean() > clear[grass].mean() + 60
    assert snow[near_road].mean() > clear[near_road].mean() + 30
    assert rain[near_road].mean() < clear[near_road].mean() - 8


def test_headlights_light_the_road_ahead_at_night_and_nothing_by_day():
    # Noise is averaged away over many moments.
    nights = draw(*(view(light=0.08, time_s=0.4 * i) for i in range(12))).mean(axis=0)
    lit, beside = nights[118:126, 118:138].mean(), nights[118:126, :20].mean()
    assert lit > 40.0 and lit > 1.4 * beside
    assert nights[:60].mean() < 25.0
    dusk, day = draw(view(light=0.36), view())
    assert np.abs(dusk - 0.36 * day).max() < 6.0


def test_lamps_glow_at_night_only():
    car = Seen("car", 66.0, 3.5, 0.0, (20, 20, 40), braking=True)
    around = np.s_[60:110, 90:166]

    def reds(light):
        with_lamps, without = draw(view(car, light=light), view(light=light))
        extra = with_lamps[around] - without[around]
        return (extra[..., 0] > extra[..., 2] + 15).sum()

    assert reds(0.1) > 1.3 * reds(0.6)


def test_a_low_sun_blinds_where_it_stands():
    for seed in range(4):
        plain, blinded = draw(view(seed=seed), view(seed=seed, glare=0.9))
        azimuth, elevation = weather.sun_direction(seed, 0.0)
        x = 128.0 - FOCAL * math.tan(azimuth)
        y = 80.0 - FOCAL * math.tan(elevation + math.radians(2.0)) / math.cos(azimuth)
        assert abs(azimuth) < 0.36 and 0.05 < elevation < 0.17
        gain = (blinded - plain).sum(-1).astype(float)
        assert (gain >= 0).all()
        assert blinded[int(y), int(x)].min() >= 230
        rows, cols = np.nonzero(blinded[:75].min(-1) >= 230)
        assert np.hypot(rows - y, cols - x).max() < 45.0
    # Contrast is lost where it shines into the lens, and only there.
    black, white = wall(20.0, (0, 0, 0)), wall(20.0, (255, 255, 255))
    contrast = {}
    for glare in (0.0, 0.9):
        dark, bright = draw(view(black, glare=glare), view(white, glare=glare))
        contrast[glare] = face_colour(bright, 20.0) - face_colour(dark, 20.0)
    assert (contrast[0.9] < 0.9 * contrast[0.0]).all()
    behind = draw(view(glare=0.9, sun_heading=math.pi))[0]
    assert np.abs(behind - draw(view())[0]).max() <= 6


def test_a_wet_road_mirrors_lamps():
    car = Seen("car", 63.0, 3.5, 0.0, (20, 20, 40), braking=True)
    wet, dry = draw(view(car, rain=1.0), view(car))
    reddish = [(i[112:150, 100:156, 0] > i[112:150, 100:156, 2] + 25).sum() for i in (wet, dry)]
    assert reddish[0] > reddish[1] + 100


@pytest.mark.parametrize("amount", [0.1, 0.35, 0.8])
def test_dirt_covers_its_share_and_stays_where_it_is(amount):
    clean, dirty, later = draw(view(), view(dirty=[amount]), view(dirty=[amount], time_s=5.0))
    np.testing.assert_array_equal(dirty, later)
    touched = np.abs(dirty - clean).sum(-1) > 8
    assert touched.mean() == pytest.approx(amount, abs=0.04)
    others = {draw(view(dirty=[amount], dirt_seed=[s]))[0].tobytes() for s in range(12)}
    assert len(others) > 3


def test_a_dead_camera_is_black_and_the_others_are_not():
    config = RigConfig(96, 64, 1, 0.4, 1, (CAMERA, CameraConfig("left", yaw_deg=60.0)))
    images = Rig(config, ATLAS).draw(view(dead=[False, True]))[0]
    assert images[0].mean() > 40 and not images[1].any()


def test_weather_is_not_in_the_labels():
    car = Seen("car", 66.0, 3.5, 0.0)
    calm = RIG.segment(view(car))
    rough = RIG.segment(
        view(car, fog_m=40.0, rain=1.0, snow=1.0, light=0.05, glare=1.0, dirty=[0.5], dead=[True])
    )
    np.testing.assert_array_equal(calm, rough)
    assert (calm == CLASSES.index("vehicle")).sum() > 100


def test_calm_weather_makes_no_tiles_and_no_difference():
    weather.banks_of.cache_clear()
    fresh = Rig(CONFIG, ATLAS)
    calm = fresh.draw(view())
    assert weather.banks_of.cache_info().currsize == 0
    np.testing.assert_array_equal(
        calm, fresh.draw(view(fog_m=np.inf, rain=0.0, snow=0.0, glare=0.0, light=1.0, dirty=[0.0]))
    )
    fresh.draw(view(rain=0.1))
    assert weather.banks_of.cache_info().currsize == 1


@pytest.mark.parametrize("kind", ["default", "fine"])
def test_all_weathers_at_once_on_all_kinds_of_rigs(kind):
    config = RigConfig() if kind == "default" else CONFIG
    rig = Rig(config, ATLAS)
    image = rig.draw(
        view(Seen("bus", 70.0, 3.5), fog_m=150.0, rain=0.5, snow=0.3, light=0.2, glare=0.4)
    )[0, 0]
    assert 5.0 < image.mean() < 250.0 and image.std() > 3.0


@pytest.mark.parametrize("width", [64, 61])
@pytest.mark.parametrize("amount", [1.0, 0.4])
def test_noise_is_the_same_however_many_values_are_added_at_once(width, amount):
    """Rows of a multiple of eight values are done by words; this is the formula for one value."""
    rng = np.random.default_rng(4)
    bank = (128 + np.clip(np.rint(rng.normal(0.0, 32.0, 4096)), -127, 127)).astype(np.uint8)
    image = rng.integers(0, 256, (24, width, 3), dtype=np.uint8)
    image[:4], image[4:8] = 0, 255
    noisy = image.copy()
    weather._add_noise(noisy, 5, 7, amount, bank)
    half, length = int(amount * 36.0), 3 * width
    for y, row in enumerate(image.reshape(24, length).astype(np.int64)):
        word = int(bits(5, STREAM_TEXTURE, (7 << 12) + y))
        k = 8 * (word % ((len(bank) - length) // 8))
        grain = (bank[k : k + length].astype(np.int64) * 2 * half >> 8) - half
        np.testing.assert_array_equal(noisy[y].reshape(-1), np.clip(row + grain, 0, 255))

"""Colours: of the scenery by texture seed, the weather and the light; of faces in kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.kernels import kernel

if TYPE_CHECKING:
    from sim.sensors.rig_view import RigView

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

GROUNDS = np.array(
    [[88, 118, 62], [110, 124, 70], [126, 112, 78], [74, 104, 66], [140, 130, 104], [100, 108, 92]]
)
SKIES = np.array([[132, 176, 226], [166, 188, 208], [118, 160, 214], [188, 192, 196]])
ASPHALT = np.array([72, 78, 84, 92])
_PAVEMENT, _KERB = np.array([148.0, 146.0, 142.0]), np.array([112.0, 110.0, 108.0])
_SNOW, _SNOW_SKY = np.array([232.0, 235.0, 240.0]), np.array([196.0, 200.0, 205.0])
_RAIN_SKY, _MIST = np.array([142.0, 148.0, 154.0]), np.array([196.0, 200.0, 204.0])
NIGHT_LIGHT = 0.35  # darker than this it is night: headlights, glowing lamps, noise
_DUSK = 0.2  # so much darker still, it is quite night
BLINK_HZ = 1.5
_RAIN_SIGHT_M, _SNOW_SIGHT_M = 500.0, 180.0  # as ``fog_m``, of the heaviest
MIST_HEIGHT_M = 100.0  # depth of the layer of fog that the sky is seen through
_SKY_RISE, _HAZE_DEPTH = float(np.radians(14.0)), float(np.radians(6.0))

# How one picture looks. ``road``, ``pavement``, ``kerb`` and ``fog`` are final colours, ``sky`` and
# ``ground`` without light. ``veiled``: there is fog; ``night`` in [0, 1]; ``blink``: flashing lamps
# are on. ``labels``: segmentation classes are drawn instead of colours.
LOOK = np.dtype(
    [("light", "f8"), ("sky", "f8", (3,)), ("ground", "f8", (3,)), ("road", "f8", (3,)),
     ("pavement", "f8", (3,)), ("kerb", "f8", (3,)), ("fog", "f8", (3,)), ("fog_m", "f8"),
     ("veiled", "?"), ("night", "f8"), ("snow", "f8"), ("rain", "f8"), ("glare", "f8"),
     ("sun_heading", "f8"),
     ("seed", "i8"), ("frame", "i8"), ("blink", "?"), ("signal", "i8", (2,)), ("labels", "?")],
    align=True,
)  # fmt: skip


def look(seed: npt.NDArray[Any]) -> tuple[I64, I64, I64]:
    """Palette indices of sky, ground and asphalt from a texture seed (a multiplicative hash)."""
    mixed = seed.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (mixed >> np.uint64(40)).astype(np.int64)
    return bits % len(SKIES), (bits // 7) % len(GROUNDS), (bits // 61) % len(ASPHALT)


def looks(view: RigView, labels: bool) -> Records:
    """LOOK [n] of every row."""
    rows = np.zeros(len(view.map_id), dtype=LOOK)
    sky, ground, asphalt = look(np.asarray(view.texture_seed))
    light = np.asarray(view.light, dtype=np.float64)
    snow, rain = np.asarray(view.snow)[:, None], np.asarray(view.rain)[:, None]
    rows["sky"] = _toward(_toward(SKIES[sky], _RAIN_SKY, 0.85 * rain), _SNOW_SKY, 0.85 * snow)
    dark = 1.0 - 0.25 * rain
    rows["ground"] = _toward(GROUNDS[ground] * dark, _SNOW, 0.92 * np.minimum(1.5 * snow, 1.0))
    gray = np.rint(ASPHALT[asphalt] * light)
    road = np.stack([gray, gray, np.rint(1.04 * gray)], axis=-1)
    shade = light[:, None]
    road = _toward(road * (1.0 - 0.35 * rain), _SNOW * shade, 0.6 * snow)
    rows["road"] = np.rint(road)
    rows["pavement"] = _toward(_PAVEMENT * (1.0 - 0.3 * rain), _SNOW, 0.8 * snow) * shade
    rows["kerb"] = _KERB * shade
    rows["fog"] = np.minimum((0.2 * (rows["sky"] + 30.0) + 0.8 * _MIST) * shade, 255.0)
    # Rain and snow dim the distance too.
    haze = 1.0 / np.asarray(view.fog_m) + rain[:, 0] / _RAIN_SIGHT_M + snow[:, 0] / _SNOW_SIGHT_M
    rows["veiled"] = haze > 0.0
    rows["fog_m"] = 1.0 / np.where(haze > 0.0, haze, 1.0)
    rows["light"], rows["labels"] = light, labels
    rows["night"] = np.clip((NIGHT_LIGHT - light) / _DUSK, 0.0, 1.0)
    for name in ("snow", "rain", "glare", "sun_heading"):
        rows[name] = getattr(view, name)
    rows["seed"] = view.texture_seed
    rows["frame"] = np.rint(np.asarray(view.time_s) * 1000.0).astype(np.int64)
    rows["blink"] = np.floor(np.asarray(view.time_s) * 2.0 * BLINK_HZ + 1e-6) % 2 == 0
    rows["signal"] = view.signal_state
    return rows


def _toward(color: Any, other: F64, share: F64) -> F64:
    mixed: F64 = color + (other - color) * share
    return mixed


@kernel
def pack(red, green, blue):  # type: ignore[no-untyped-def]
    """A packed colour, rounded and kept in range."""
    r = int(np.rint(min(max(red, 0.0), 255.0)))
    g = int(np.rint(min(max(green, 0.0), 255.0)))
    b = int(np.rint(min(max(blue, 0.0), 255.0)))
    return r | (g << 8) | (b << 16)


@kernel
def through_fog(look, clear, red, green, blue):  # type: ignore[no-untyped-def]
    """A packed colour of which the share ``clear`` comes through the fog."""
    if look.veiled:
        red = look.fog[0] + (red - look.fog[0]) * clear
        green = look.fog[1] + (green - look.fog[1]) * clear
        blue = look.fog[2] + (blue - look.fog[2]) * clear
    return pack(red, green, blue)


@kernel
def clearness(look, distance):  # type: ignore[no-untyped-def]
    """Share of contrast that is left at ``distance`` (Koschmieder's law: 5 % at ``fog_m``)."""
    return math.exp(-3.0 * distance / look.fog_m) if look.veiled else 1.0


@kernel
def backdrop(look, elevation):  # type: ignore[no-untyped-def]
    """Packed colour of sky or bare ground in a direction, before fog on the ground."""
    r, g, b = look.sky[0], look.sky[1], look.sky[2]
    if elevation > 0.0:
        rise = min(max(elevation / _SKY_RISE, 0.0), 1.0)
        keep, pale = 1.0 - 0.25 * rise, 60.0 * (1.0 - rise) * 0.5
        clear = 1.0
        if look.veiled:
            depth = MIST_HEIGHT_M / max(math.sin(elevation), 1e-3)
            clear = math.exp(-3.0 * depth / look.fog_m)
    else:
        r, g, b = look.ground[0], look.ground[1], look.ground[2]
        haze = min(max(1.0 + elevation / _HAZE_DEPTH, 0.0), 1.0) * 0.25
        keep, pale, clear = 1.0 - haze, 150.0 * haze, 1.0
    light = look.light
    return through_fog(
        look,
        clear,
        min((r * keep + pale) * light, 255.0),
        min((g * keep + pale) * light, 255.0),
        min((b * keep + pale) * light, 255.0),
    )

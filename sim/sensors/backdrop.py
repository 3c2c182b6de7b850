"""What fills a picture behind everything: sky and bare ground, and what weather and headlights do
to the ground."""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np
import numpy.typing as npt

from sim.config import RigConfig
from sim.kernels import kernel
from sim.sensors import lens, palette
from sim.sensors.models import CLASSES

_SKY, _GROUND = CLASSES.index("sky"), CLASSES.index("ground")
# Elevations of directions come in steps that are fine around the horizon.
_STEPS = 254
_LOW, _HIGH = float(np.radians(-6.0)), float(np.radians(14.0))
_NEAREST_M, _DISTANCE_STEP = 1.0, 1.0245  # distances on the ground in steps of this ratio

# Per camera: ``row_pitch`` [C, rows], elevation of each row of a level straight camera; ``level``
# uint8 [C, rows, cols], step of elevation of each pixel of a level bent one; ``distance`` uint8,
# step of distance of the ground in each pixel (0: sky); ``beam`` uint8, how much the headlights
# shine there, in 256ths; ``rays`` float32 [C, rows, cols, 3]. Arrays that no camera needs are
# empty.
Maps = namedtuple("Maps", "row_pitch level distance beam rays")


def pixel_maps(rig: RigConfig) -> Maps:
    """What every pixel of a level rig looks at."""
    cameras, scale = rig.cameras, rig.supersample
    shape = (len(cameras), scale * rig.height_px, scale * rig.width_px)
    maps = Maps(
        np.zeros(shape[:2]),
        np.zeros(shape, dtype=np.uint8),
        np.zeros(shape, dtype=np.uint8),
        np.zeros(shape, dtype=np.uint8),
        np.zeros((*shape, 3), dtype=np.float32),
    )
    for c, camera in enumerate(cameras):
        maps.row_pitch[c] = lens.row_pitch(rig, camera)
        rays = lens.pixel_rays(rig, camera, scale)
        maps.rays[c] = rays
        ahead, left, up = lens.level_rays(rays, camera)
        maps.level[c] = _elevation_step(np.arcsin(np.clip(up, -1.0, 1.0)))
        reach = camera.mount_height_m / np.maximum(-up, 1e-6)
        steps = np.log(np.maximum(reach, _NEAREST_M) / _NEAREST_M) / np.log(_DISTANCE_STEP)
        maps.distance[c] = np.where(up < 0.0, np.clip(np.rint(steps), 1, 255), 0)
        at = (camera.mount_x_m + ahead * reach, camera.mount_y_m + left * reach)
        maps.beam[c] = np.where(up < 0.0, np.rint(255.0 * beam_gain(*at)), 0)
    return maps


def _elevation_step(elevation: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """0 below the range, 255 above it."""
    step = np.floor((elevation - _LOW) / (_HIGH - _LOW) * _STEPS) + 1
    return np.clip(step, 0, 255).astype(np.uint8)


def beam_gain(ahead, left):  # type: ignore[no-untyped-def]
    """How much the ego's headlights add to the light at a point of its frame; numpy or numbers."""
    forward = np.maximum(ahead, 0.0)
    rise = np.clip((ahead - 3.0) / 5.0, 0.0, 1.0)
    return rise * np.exp(-((left / (2.4 + 0.24 * forward)) ** 2) - forward / 38.0)


@kernel
def beam_at(ahead, left):  # type: ignore[no-untyped-def]
    """``beam_gain`` of one point."""
    forward = max(ahead, 0.0)
    rise = min(max((ahead - 3.0) / 5.0, 0.0), 1.0)
    return rise * math.exp(-((left / (2.4 + 0.24 * forward)) ** 2) - forward / 38.0)


@kernel
def draw_backdrop(canvas, eye, look, maps, steps):  # type: ignore[no-untyped-def]
    """Sky and bare ground. ``steps`` int64 [256] is scratch."""
    c = eye.camera
    if not eye.bent and eye.sin_yaw * eye.sin_grade == 0.0:
        pitch = maps.row_pitch[c]
        for y in range(len(canvas)):
            canvas[y, :] = _backdrop(look, eye, pitch[y] + eye.grade)
        return
    for k in range(256):
        steps[k] = _backdrop(look, eye, _LOW + (k - 0.5) * (_HIGH - _LOW) / _STEPS)
    level = maps.level[c]
    if eye.grade == 0.0:
        for y in range(canvas.shape[0]):
            for x in range(canvas.shape[1]):
                canvas[y, x] = steps[level[y, x]]
        return
    _draw_tilted(canvas, eye, maps.rays[c], steps)


@kernel
def _draw_tilted(canvas, eye, rays, steps):  # type: ignore[no-untyped-def]
    """The same for an ego that is not level: by the height of each pixel's ray."""
    # The world's up in the camera frame.
    right, down, ahead = lens.to_camera(eye, eye.x, eye.y, eye.z + 1.0)
    scale = _STEPS / (_HIGH - _LOW)
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            up = rays[y, x, 0] * right + rays[y, x, 1] * down + rays[y, x, 2] * ahead
            step = math.floor((up - _LOW) * scale) + 1
            canvas[y, x] = steps[min(max(step, 0), 255)]


@kernel
def _backdrop(look, eye, elevation):  # type: ignore[no-untyped-def]
    if look.labels:
        return _SKY if elevation > 0.0 else _GROUND
    return palette.backdrop(look, elevation)


@kernel
def weather_ground(canvas, eye, look, maps, weights):  # type: ignore[no-untyped-def]
    """Fog, wet shine and headlights on flat ground, in place. ``weights`` int64 [256, 4]: scratch
    for what stays of a colour and what is added at each step of distance."""
    shine = 0.45 * look.rain
    if not look.veiled and shine == 0.0 and look.night == 0.0:
        return
    light = look.light
    for k in range(256):
        distance = _NEAREST_M * _DISTANCE_STEP**k
        clear = palette.clearness(look, distance)
        # A wet road mirrors the sky the more the flatter one looks at it.
        wet = shine * (1.0 - math.exp(-distance / 25.0))
        weights[k, 0] = int(256.0 * clear * (1.0 - wet))
        for i in range(3):
            mirrored = clear * wet * min((look.sky[i] + 30.0) * light, 255.0)
            weights[k, 1 + i] = int(256.0 * (mirrored + (1.0 - clear) * look.fog[i]))
    c = eye.camera
    boost = 256.0 * look.night / max(light, 0.04)
    for y in range(canvas.shape[0]):
        row, far, beam = canvas[y], maps.distance[c, y], maps.beam[c, y]
        for x in range(len(row)):
            k = far[x]
            if k > 0:
                color = np.int64(row[x])
                gain = 256 + int(boost * beam[x]) // 256
                row[x] = _weathered(color, weights[k], gain)


@kernel
def _weathered(color, weight, gain):  # type: ignore[no-untyped-def]
    r = min((color & 255) * gain >> 8, 255)
    g = min((color >> 8 & 255) * gain >> 8, 255)
    b = min((color >> 16 & 255) * gain >> 8, 255)
    keep = weight[0]
    r = min((r * keep + weight[1]) >> 8, 255)
    g = min((g * keep + weight[2]) >> 8, 255)
    b = min((b * keep + weight[3]) >> 8, 255)
    return r | (g << 8) | (b << 16)

"""Where a point of the world lies in a picture: cameras, their poses and their lenses.

Camera frame: X right, Y down, Z along the optical axis. Picture coordinates count pixels from the
top left corner; the middle of pixel (i, j) is (i + 0.5, j + 0.5).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError
from sim.config import CameraConfig, RigConfig
from sim.kernels import kernel

F64 = npt.NDArray[np.float64]
Records = npt.NDArray[Any]

NEAR_M = 0.5
WIDE_NEAR_M = 0.05  # what stands close beside a wide camera is near its image plane
_REAR_SLOPE = 0.6  # half-planes behind a fisheye's image plane begin this far outwards per metre
MAX_PINHOLE_DEG = 170.0
MAX_FISHEYE_DEG = 220.0
_CURVE_PX = 20.0  # lines are bent by a lens in pieces of this length
_MAX_PIECES = 40
PIECES = _MAX_PIECES  # a polygon has at most this many times as many corners after bending

# The pose of one camera for one picture. ``x, y, z``: its position; ``cos, sin``: the ego's
# heading; ``*_grade``: the ego's pitch, up is positive; ``*_yaw``: the camera's turn to the left;
# ``*_pitch``: downwards; ``look_x, look_y``: level direction of the optical axis. ``wedge``: half
# the picture's width per metre of depth; ``scale``: fine pixels per pixel; ``faces``: 3 where the
# picture shows what lies behind the image plane; ``sharp``: fills are crisp.
EYE = np.dtype(
    [(name, "f8") for name in (
        "x", "y", "z", "cos", "sin", "cos_grade", "sin_grade", "grade", "cos_yaw", "sin_yaw",
        "cos_pitch", "sin_pitch", "look_x", "look_y", "focal", "middle_x", "middle_y", "near",
        "wedge", "scale",
    )]
    + [("bent", "?"), ("sharp", "?"), ("faces", "i8"), ("camera", "i8")],
    align=True,
)  # fmt: skip


def focal_px(rig: RigConfig, camera: CameraConfig) -> float:
    """Pixels per unit of tan(angle) (pinhole) or per radian (f-theta)."""
    half = np.radians(0.5 * camera.hfov_deg)
    return float(0.5 * rig.width_px / (np.tan(half) if camera.lens == "pinhole" else half))


def check_rig(rig: RigConfig) -> None:
    """Raises ``RequestError`` for what no camera can be."""
    if rig.width_px < 8 or rig.height_px < 8:
        raise RequestError(
            f"rig: width_px, height_px: expected at least 8, got {rig.width_px} x {rig.height_px}"
        )
    if rig.supersample < 1:
        raise RequestError(f"rig: supersample: expected at least 1, got {rig.supersample}")
    if rig.frames < 1 or not rig.cameras:
        raise RequestError(
            f"rig: frames, cameras: expected at least one each, got {rig.frames} and "
            f"{len(rig.cameras)}"
        )
    names = [camera.name for camera in rig.cameras]
    if len(set(names)) < len(names):
        raise RequestError(f"rig: cameras: expected different names, got {', '.join(names)}")
    for camera in rig.cameras:
        most = MAX_PINHOLE_DEG if camera.lens == "pinhole" else MAX_FISHEYE_DEG
        if not 1.0 <= camera.hfov_deg <= most:
            raise RequestError(
                f"rig: camera {camera.name}: hfov_deg: expected 1 to {most:g} for a {camera.lens} "
                f"lens, got {camera.hfov_deg:g}"
            )
        if 0.5 * rig.height_px / focal_px(rig, camera) > 0.5 * np.pi and camera.lens == "f_theta":
            raise RequestError(
                f"rig: camera {camera.name}: hfov_deg: expected a picture less than 180 degrees "
                f"high, got {camera.hfov_deg * rig.height_px / rig.width_px:.0f}"
            )


def camera_eyes(rig: RigConfig) -> Records:
    """EYE [C]: what does not depend on where the ego is."""
    eyes = np.zeros(len(rig.cameras), dtype=EYE)
    for c, camera in enumerate(rig.cameras):
        focal, bent = focal_px(rig, camera), camera.lens == "f_theta"
        pitch = np.radians(camera.pitch_down_deg)
        eyes["focal"][c], eyes["bent"][c], eyes["camera"][c] = focal, bent, c
        eyes["cos_pitch"][c], eyes["sin_pitch"][c] = np.cos(pitch), np.sin(pitch)
        eyes["sharp"][c] = rig.supersample > 1 and not bent
        eyes["near"][c] = WIDE_NEAR_M if bent else NEAR_M
        corner = 0.5 * np.hypot(rig.width_px, rig.height_px) / focal
        eyes["faces"][c] = 3 if bent and corner > np.radians(88.0) else 1
        half = 0.5 * rig.width_px / focal
        # The outermost direction that a level plane through the axis shows, for culling; wider than
        # a right angle nothing is culled.
        widest = np.tan(min(1.02 * corner, 1.5)) if bent else half
        eyes["wedge"][c] = widest if not bent or corner < np.radians(80.0) else np.inf
    eyes["middle_x"], eyes["middle_y"] = 0.5 * rig.width_px, 0.5 * rig.height_px
    eyes["scale"] = rig.supersample
    return eyes


def eyes_of(rig: RigConfig, fixed: Records, pose: F64, grade: F64, turned_deg: F64) -> Records:
    """EYE [n, C] for ego poses [n, 4] (x, y, heading, z), pitches [n] and by how much each camera
    is turned from its mount [n, C]. ``fixed``: ``camera_eyes(rig)``."""
    eyes = np.repeat(fixed[None], len(pose), axis=0)
    heading = np.ascontiguousarray(pose[:, 2])[:, None]
    cos, sin = np.cos(heading), np.sin(heading)
    cos_grade, sin_grade = np.cos(grade)[:, None], np.sin(grade)[:, None]
    yaw = np.radians(np.array([c.yaw_deg for c in rig.cameras]) + turned_deg)
    mount = np.array([(c.mount_x_m, c.mount_y_m, c.mount_height_m) for c in rig.cameras])
    ahead = mount[:, 0] * cos_grade - mount[:, 2] * sin_grade
    eyes["x"] = pose[:, :1] + ahead * cos - mount[:, 1] * sin
    eyes["y"] = pose[:, 1:2] + ahead * sin + mount[:, 1] * cos
    eyes["z"] = pose[:, 3:] + mount[:, 0] * sin_grade + mount[:, 2] * cos_grade
    eyes["cos"], eyes["sin"] = cos, sin
    eyes["cos_grade"], eyes["sin_grade"] = cos_grade, sin_grade
    eyes["grade"] = np.asarray(grade)[:, None]
    eyes["cos_yaw"], eyes["sin_yaw"] = np.cos(yaw), np.sin(yaw)
    eyes["look_x"], eyes["look_y"] = np.cos(heading + yaw), np.sin(heading + yaw)
    return eyes


@kernel
def to_camera(eye, x, y, z):  # type: ignore[no-untyped-def]
    """(X, Y, Z) in the camera frame of a point of the world."""
    dx, dy, up = x - eye.x, y - eye.y, z - eye.z
    ahead = eye.cos * dx + eye.sin * dy
    right = eye.sin * dx - eye.cos * dy
    ahead, up = (
        ahead * eye.cos_grade + up * eye.sin_grade,
        up * eye.cos_grade - ahead * eye.sin_grade,
    )
    ahead, right = (
        ahead * eye.cos_yaw - right * eye.sin_yaw,
        right * eye.cos_yaw + ahead * eye.sin_yaw,
    )
    return (
        right,
        -(ahead * eye.sin_pitch + up * eye.cos_pitch),
        ahead * eye.cos_pitch - up * eye.sin_pitch,
    )


@kernel
def to_picture(eye, x, y, z):  # type: ignore[no-untyped-def]
    """(i, j) in pixels of a point in the camera frame. A pinhole needs z > 0."""
    if not eye.bent:
        scale = eye.focal / z
        return x * scale + eye.middle_x, y * scale + eye.middle_y
    radius = math.sqrt(x * x + y * y)
    if radius <= 1e-9 * abs(z):
        return eye.middle_x, eye.middle_y
    scale = eye.focal * math.atan2(radius, z) / radius
    return x * scale + eye.middle_x, y * scale + eye.middle_y


@kernel
def clip(source, count, target, a, b, c):  # type: ignore[no-untyped-def]
    """The part of a polygon (camera frame, ``source`` [>= count, 3]) with a x + b z >= c, into
    ``target``; returns its number of corners (Sutherland and Hodgman, 1974)."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        here = a * source[i, 0] + b * source[i, 2] - c
        there = a * source[j, 0] + b * source[j, 2] - c
        if here >= 0.0:
            target[kept, 0], target[kept, 1], target[kept, 2] = (
                source[i, 0],
                source[i, 1],
                source[i, 2],
            )
            kept += 1
        if (here >= 0.0) != (there >= 0.0):
            share = here / (here - there)
            for k in range(3):
                target[kept, k] = source[i, k] + share * (source[j, k] - source[i, k])
            kept += 1
    return kept


@kernel
def bend(eye, corners, count, points):  # type: ignore[no-untyped-def]
    """A polygon of the camera frame as a lens draws it: straight sides become curves, of several
    ``points`` (pixels) each. Returns how many."""
    total = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        ax, ay, az = corners[i, 0], corners[i, 1], corners[i, 2]
        bx, by, bz = corners[j, 0], corners[j, 1], corners[j, 2]
        a_i, a_j = to_picture(eye, ax, ay, az)
        b_i, b_j = to_picture(eye, bx, by, bz)
        points[total, 0], points[total, 1] = a_i, a_j
        total += 1
        if abs(b_i - a_i) + abs(b_j - a_j) < _CURVE_PX and ax * bx + ay * by + az * bz > 0.0:
            continue
        total = _bend_side(eye, (ax, ay, az), (bx, by, bz), points, total)
    return total


@kernel
def _bend_side(eye, a, b, points, total):  # type: ignore[no-untyped-def]
    """Append pictures of inner points of the side from ``a`` to ``b``, evenly spaced as seen from
    the camera, to the ``total`` first of ``points``; returns how many there are then."""
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    if length < 1e-9:
        return total
    dx, dy, dz = dx / length, dy / length, dz / length
    # The side's line: its point nearest to the camera, and how far along it the ends are.
    start = a[0] * dx + a[1] * dy + a[2] * dz
    fx, fy, fz = a[0] - start * dx, a[1] - start * dy, a[2] - start * dz
    away = math.sqrt(fx * fx + fy * fy + fz * fz)
    if away < 1e-9:
        return total
    first, last = math.atan2(start, away), math.atan2(start + length, away)
    pieces = min(1 + int((last - first) * eye.focal / _CURVE_PX), _MAX_PIECES)
    fx, fy, fz = fx / away, fy / away, fz / away
    for k in range(1, pieces):
        angle = first + (last - first) * k / pieces
        u, v = math.cos(angle), math.sin(angle)
        points[total, 0], points[total, 1] = to_picture(
            eye, u * fx + v * dx, u * fy + v * dy, u * fz + v * dz
        )
        total += 1
    return total


@kernel
def face(eye, number, source, count, target, spare):  # type: ignore[no-untyped-def]
    """The part of a polygon that face ``number`` of ``eye.faces`` shows, into ``target``; returns
    its number of corners. Face 0 lies before the image plane, 1 and 2 behind it to the right and
    left."""
    if eye.faces == 1:
        return clip(source, count, target, 0.0, 1.0, eye.near)
    if number == 0:
        return clip(source, count, target, 0.0, 1.0, 0.0)
    count = clip(source, count, spare, 0.0, -1.0, 0.0)
    return clip(spare, count, target, 1.0 if number == 1 else -1.0, _REAR_SLOPE, 0.0)


def pixel_rays(rig: RigConfig, camera: CameraConfig, scale: int = 1) -> F64:
    """Unit vectors [H, W, 3] in the camera frame through the middles of the pixels of a picture
    ``scale`` times as large."""
    focal = focal_px(rig, camera)
    x = (np.arange(scale * rig.width_px) + 0.5) / scale - 0.5 * rig.width_px
    y = (np.arange(scale * rig.height_px) + 0.5) / scale - 0.5 * rig.height_px
    x, y = np.broadcast_arrays(x[None, :], y[:, None])
    if camera.lens == "pinhole":
        rays = np.stack([x, y, np.full(x.shape, focal)], axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    radius = np.hypot(x, y)
    angle = radius / focal
    aside = np.sin(angle) / np.maximum(radius, 1e-12)
    return np.stack([x * aside, y * aside, np.cos(angle)], axis=-1)


def row_pitch(rig: RigConfig, camera: CameraConfig) -> F64:
    """[fine rows] elevation of the ray through the middle column of each row of a level pinhole
    camera; the horizon is where it changes sign."""
    rows = (np.arange(rig.supersample * rig.height_px) + 0.5) / rig.supersample
    rows = rows - 0.5 * rig.height_px
    return np.arctan(-rows / focal_px(rig, camera)) - np.radians(camera.pitch_down_deg)


def level_rays(rays: F64, camera: CameraConfig) -> tuple[F64, F64, F64]:
    """(ahead, left, up) of unit vectors [..., 3] of the camera frame, for a level ego."""
    pitch, yaw = np.radians(camera.pitch_down_deg), np.radians(camera.yaw_deg)
    ahead = rays[..., 2] * np.cos(pitch) - rays[..., 1] * np.sin(pitch)
    up = -rays[..., 2] * np.sin(pitch) - rays[..., 1] * np.cos(pitch)
    left = -rays[..., 0]
    return (
        ahead * np.cos(yaw) - left * np.sin(yaw),
        left * np.cos(yaw) + ahead * np.sin(yaw),
        up,
    )

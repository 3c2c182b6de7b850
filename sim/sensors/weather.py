"""What lies between the scene and the picture: low sun, rain, snow, noise and dirt.

All from tiles that are made once and chosen by counter-based streams, so that a picture depends on
its own row only.
"""

from __future__ import annotations

import math
from collections import namedtuple
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.streams import STREAM_TEXTURE
from sim.draws import bits, uniform
from sim.kernels import kernel
from sim.sensors import lens

F64 = npt.NDArray[np.float64]

_TILES = 8
_NOISE = 1 << 16
_RAIN, _SNOW = 0, 1
_STREAM = STREAM_TEXTURE
# Counters of one stream per texture seed: the sun, then dirt per camera, then pictures.
_SUN_COUNTER, _DIRT_COUNTER, _PICTURE_COUNTER = 0, 8, 1 << 20
_MOST_CAMERAS = 64
_SUN_SPREAD = 0.35  # rad; the sun stands up to this much beside where it is said to be
_SUN_LOW, _SUN_HIGH = 0.06, 0.16  # rad above the horizon
_GLARE_STEPS = 1024
_DIRT = (58.0, 52.0, 42.0)
_NOISE_LEVELS = 9.0
# Every other byte of a word.
_BYTES, _ONES, _255 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0001000100010001), np.uint64(255)
_8, _9 = np.uint64(8), np.uint64(9)

# ``rows``, ``cols`` int16 and ``alpha`` uint8 [2 (rain, snow), tiles, most]: pixels of drops and
# flakes in order of the drops, ``counts`` [2, tiles] how many; ``dirt`` uint8 [tiles, H, W]: smooth
# fields in which every value is equally frequent; ``noise`` uint8 [*], 128 is none.
Banks = namedtuple("Banks", "rows cols alpha counts dirt noise")

# Of each camera [n, C]: ``dead``, ``dirty`` and ``dirt_seed``, see ``RigView``.
Faults = namedtuple("Faults", "dead dirty dirt_seed")


NO_BANKS = Banks(
    np.zeros((2, 1, 1), np.int16), np.zeros((2, 1, 1), np.int16), np.zeros((2, 1, 1), np.uint8),
    np.zeros((2, 1), np.int64), np.zeros((1, 1, 1), np.uint8), np.full(8, 128, np.uint8),
)  # fmt: skip


def need_banks(looks: npt.NDArray[Any], faults: Faults) -> bool:
    """Whether pictures of LOOK [n] need tiles at all: making them takes half a second."""
    weather = (looks["rain"] > 0.0) | (looks["snow"] > 0.0) | (looks["night"] > 0.0)
    return bool(weather.any() or (faults.dirty > 0.0).any())


@lru_cache(maxsize=4)
def banks_of(height: int, width: int) -> Banks:
    """Tiles for pictures of this size; always the same ones."""
    rng = np.random.default_rng(20240229)
    tiles = [
        [_drops(rng, height, width, kind == _RAIN) for _ in range(_TILES)] for kind in range(2)
    ]
    most = max(len(tile) for kind in tiles for tile in kind)
    counts = np.array([[len(tile) for tile in kind] for kind in tiles])
    packed = np.zeros((3, 2, _TILES, most))
    for kind in range(2):
        for t, tile in enumerate(tiles[kind]):
            packed[:, kind, t, : len(tile)] = tile.T
    dirt = np.stack([_blots(rng, height, width) for _ in range(_TILES)])
    noise = 128 + np.clip(np.rint(rng.normal(0.0, 32.0, _NOISE)), -127, 127).astype(np.int64)
    rows, cols, alpha = packed
    return Banks(
        rows.astype(np.int16), cols.astype(np.int16), alpha.astype(np.uint8), counts, dirt,
        noise.astype(np.uint8),
    )  # fmt: skip


def _drops(rng: np.random.Generator, height: int, width: int, rain: bool) -> F64:
    """Pixels [n, 3] (row, column, opacity in 256ths) of streaks or flakes, drop by drop."""
    count = round(height * width / (170.0 if rain else 110.0))
    found = []
    for _ in range(count):
        y, x, near = rng.uniform(0, height), rng.uniform(0, width), rng.random() ** 2
        if rain:
            length = max(3, round(height * (0.025 + 0.07 * near)))
            steps = np.arange(length)
            fade = 1.0 - np.abs(2.0 * (steps + 0.5) / length - 1.0)
            found.append(
                np.stack([y + steps, x - 0.12 * steps, 30.0 + 75.0 * fade * (0.4 + near)], axis=-1)
            )
        else:
            radius = (0.6 + 1.6 * near) * max(1.0, height / 240.0)
            span = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
            dy, dx = (a.ravel() for a in np.meshgrid(span, span, indexing="ij"))
            cover = np.clip(radius + 0.5 - np.hypot(dy, dx), 0.0, 1.0)
            part = np.stack([y + dy, x + dx, 225.0 * cover], axis=-1)
            found.append(part[cover > 0.0])
    pixels = np.concatenate(found)
    pixels[:, 0] = np.floor(pixels[:, 0]) % height
    pixels[:, 1] = np.floor(pixels[:, 1]) % width
    return pixels


def _blots(rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.uint8]:
    """A smooth field [H, W] whose values are ranks: a share p of it lies below 256 p."""
    field = np.zeros((height, width))
    for cells, weight in ((4, 1.0), (9, 0.5), (22, 0.22)):
        coarse = rng.normal(size=(cells + 2, 2 * cells + 2))
        y = np.linspace(0.0, cells, height)
        x = np.linspace(0.0, 2.0 * cells, width)
        field += weight * _bilinear(coarse, y, x)
    order = np.argsort(field, axis=None, kind="stable")
    ranks = np.empty(field.size)
    ranks[order] = np.arange(field.size)
    return (ranks * (256.0 / field.size)).astype(np.uint8).reshape(height, width)


def _bilinear(grid: F64, y: F64, x: F64) -> F64:
    i, j = y.astype(int), x.astype(int)
    v, u = _smooth(y - i)[:, None], _smooth(x - j)[None, :]
    upper = grid[np.ix_(i, j)] * (1 - u) + grid[np.ix_(i, j + 1)] * u
    lower = grid[np.ix_(i + 1, j)] * (1 - u) + grid[np.ix_(i + 1, j + 1)] * u
    mixed: F64 = upper * (1 - v) + lower * v
    return mixed


def _smooth(t: Any) -> Any:
    return t * t * (3.0 - 2.0 * t)


@kernel
def finish(image, eye, look, faults, i, maps, banks, glow):  # type: ignore[no-untyped-def]
    """What happens in front of and inside a camera of view ``i``, in place on its image uint8 [H,
    W, 3]. ``glow`` float64 [1024]: scratch."""
    if faults.dead[i, eye.camera]:
        image[:] = 0
        return
    c = min(eye.camera, _MOST_CAMERAS - 1)
    dirty = faults.dirty[i, eye.camera]
    seed, counter = look.seed, _PICTURE_COUNTER + look.frame * _MOST_CAMERAS + c
    if look.glare > 0.0:
        _add_glare(image, eye, look, maps.rays[eye.camera], glow)
    if look.rain > 0.0:
        tone = min(0.35 + 0.75 * look.light, 1.0) * 215.0
        _add_drops(image, seed, counter, _RAIN, look.rain, tone, banks)
    if look.snow > 0.0:
        tone = min(0.3 + look.light, 1.0) * 250.0
        _add_drops(image, seed, counter, _SNOW, look.snow, tone, banks)
    if look.night > 0.0:
        _add_noise(image, seed, counter, look.night, banks.noise)
    if dirty > 0.0:
        word = bits(faults.dirt_seed[i, eye.camera], _STREAM, _DIRT_COUNTER + c)
        _add_dirt(image, look.light, dirty, banks.dirt[np.int64(word % np.uint64(_TILES))])


@kernel
def sun_direction(seed, heading):  # type: ignore[no-untyped-def]
    """(azimuth, elevation) of a low sun in the world, near the direction ``heading``."""
    azimuth = heading + _SUN_SPREAD * (2.0 * uniform(seed, _STREAM, _SUN_COUNTER) - 1.0)
    share = uniform(seed, _STREAM, _SUN_COUNTER + 1)
    return azimuth, _SUN_LOW + (_SUN_HIGH - _SUN_LOW) * share


@kernel
def _add_glare(image, eye, look, rays, glow):  # type: ignore[no-untyped-def]
    """A bloom around the sun, and a veil over everything if it shines into the lens."""
    azimuth, elevation = sun_direction(look.seed, look.sun_heading)
    level = math.cos(elevation)
    sx, sy, sz = lens.to_camera(
        eye, eye.x + level * math.cos(azimuth), eye.y + level * math.sin(azimuth),
        eye.z + math.sin(elevation),
    )  # fmt: skip
    strength = look.glare * min(0.4 + 0.6 * look.light, 1.0)
    veil = 0.26 * max(sz, 0.0) ** 4
    for k in range(_GLARE_STEPS):
        # Steps are even in the square root of 1 - cos: fine around the sun.
        aside = 2.0 * (k / (_GLARE_STEPS - 1.0)) ** 2
        bloom = 1.7 * math.exp(-aside / 0.0004) + 0.6 * math.exp(-aside / 0.005)
        glow[k] = min(strength * (bloom + 0.35 * math.exp(-aside / 0.07) + veil), 1.0)
    scale = len(rays) // len(image)
    factor = (_GLARE_STEPS - 1.0) * math.sqrt(0.5)
    for y in range(image.shape[0]):
        line, row = rays[scale * y + scale // 2], image[y]
        for x in range(image.shape[1]):
            ray = line[scale * x + scale // 2]
            aside = max(1.0 - (ray[0] * sx + ray[1] * sy + ray[2] * sz), 0.0)
            share = glow[min(int(math.sqrt(aside) * factor), _GLARE_STEPS - 1)]
            row[x, 0] = int(row[x, 0] + (255.0 - row[x, 0]) * share)
            row[x, 1] = int(row[x, 1] + (249.0 - row[x, 1]) * share)
            row[x, 2] = int(row[x, 2] + (232.0 - row[x, 2]) * share)


@kernel
def _add_drops(image, seed, counter, kind, amount, tone, banks):  # type: ignore[no-untyped-def]
    """Streaks or flakes: a share of one tile's, moved by a random offset."""
    height, width = image.shape[0], image.shape[1]
    word = bits(seed, _STREAM, counter)
    tile = np.int64(word & np.uint64(_TILES - 1))
    dy = np.int64((word >> np.uint64(8)) % np.uint64(height))
    dx = np.int64((word >> np.uint64(32)) % np.uint64(width))
    rows, cols, alpha = banks.rows[kind, tile], banks.cols[kind, tile], banks.alpha[kind, tile]
    for k in range(int(banks.counts[kind, tile] * min(amount, 1.0))):
        y, x = rows[k] + dy, cols[k] + dx
        y = y - height if y >= height else y
        x = x - width if x >= width else x
        share = alpha[k] / 256.0
        for i in range(3):
            image[y, x, i] = int(image[y, x, i] + (tone - image[y, x, i]) * share)


@kernel
def _add_noise(image, seed, counter, amount, noise):  # type: ignore[no-untyped-def]
    """Sensor noise of a dark scene, a stretch of the bank per row."""
    half = int(amount * _NOISE_LEVELS * 128.0 / 32.0)  # of the gain, in 256ths
    length = 3 * image.shape[1]
    flat = image.reshape(image.shape[0], length)
    words = length // 8 if length % 8 == 0 else 0  # of eight values each
    for y in range(image.shape[0]):
        word = bits(seed, _STREAM, (counter << 12) + y)
        k = 8 * np.int64(word % np.uint64((len(noise) - length) // 8))
        if words > 0:
            _add_to_words(
                flat[y].view(np.uint64), noise[k : k + length].view(np.uint64), np.uint64(half)
            )
        else:
            for x in range(length):
                value = flat[y, x] + (noise[k + x] * (2 * half) >> 8) - half
                flat[y, x] = min(max(value, 0), 255)


@kernel
def _add_to_words(words, noise, half):  # type: ignore[no-untyped-def]
    """What the loop above does, for eight values at a time: every other byte of a word has room for
    16 bits. With 256 on top the sum is positive, and its bits 8 and 9 say whether it is above 0 and
    above 255."""
    gain, level = half + half, (np.uint64(256) - half) * _ONES
    for x in range(len(words)):
        word, grain = words[x], noise[x]
        even = (word & _BYTES) + ((grain & _BYTES) * gain >> _8 & _BYTES) + level
        odd = (word >> _8 & _BYTES) + ((grain >> _8 & _BYTES) * gain >> _8 & _BYTES) + level
        even = even & (even >> _8 & _ONES) * _255 | (even >> _9 & _ONES) * _255
        odd = odd & (odd >> _8 & _ONES) * _255 | (odd >> _9 & _ONES) * _255
        words[x] = even | odd << _8


@kernel
def _add_dirt(image, light, amount, field):  # type: ignore[no-untyped-def]
    """Blots over a share ``amount`` of the image, soft at their edges."""
    limit = 256.0 * min(amount, 1.0)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            depth = limit - field[y, x]
            if depth > 0.0:
                share = min(0.45 + 0.03 * depth, 0.96)
                for i in range(3):
                    value = image[y, x, i]
                    image[y, x, i] = int(value + (_DIRT[i] * light - value) * share)

"""A rig of cameras: pictures of many worlds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.config import RigConfig
from sim.sensors import backdrop, lens, palette, picture, weather
from sim.sensors.listing import Listing, new_listing
from sim.sensors.models import models
from sim.sensors.pen import new_pen
from sim.sensors.rig_view import Actors, RigView, actors_of
from sim.sensors.scenery import SceneStore

if TYPE_CHECKING:
    from sim.roads.atlas import MapAtlas

U8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.integer[Any]]
# Pictures with fewer rows show things in their plain form: finer parts would only flicker.
PLAIN_BELOW_ROWS = 100
_CHUNK = 16  # pictures listed at once: their shapes stay in the processor's cache


class Rig:
    """Draws what the cameras of ``config`` see on the roads of ``atlas``.

    Not for several threads at once. Raises ``RequestError`` for impossible cameras.
    """

    def __init__(self, config: RigConfig, atlas: MapAtlas) -> None:
        lens.check_rig(config)
        self.config = config
        self._full = config.height_px >= PLAIN_BELOW_ROWS
        self._fixed = lens.camera_eyes(config)
        self._maps = backdrop.pixel_maps(config)
        self._store = SceneStore(atlas.map)
        self._sizes = (0, 0, 0)
        self._listing: Listing = new_listing(4096, 20000)
        self._scratch = picture.new_scratch(config.width_px)

    def draw(self, view: RigView) -> U8:
        """RGB images uint8 [n, C, H, W, 3]. Each depends on its own row alone, to the last bit."""
        images = self._blank(view, 3)
        self._draw(view, images, np.arange(len(images)), np.arange(images.shape[1]), False)
        return images

    def draw_into(self, view: RigView, images: U8, rows: Ints, places: Ints) -> None:
        """Draw camera c of view i into ``images[rows[i], places[c]]``; ``images`` uint8 [*, *, H,
        W, 3], contiguous."""
        self._draw(view, images, rows, places, False)

    def segment(self, view: RigView) -> U8:
        """What every pixel shows, uint8 [n, C, H, W]: an index into ``models.CLASSES``. No weather,
        no faults; privileged."""
        labels = self._blank(view, 1)
        self._draw(view, labels, np.arange(len(labels)), np.arange(labels.shape[1]), True)
        return labels[..., 0]

    def _blank(self, view: RigView, channels: int) -> U8:
        config = self.config
        shape = (len(view.map_id), len(config.cameras), config.height_px, config.width_px)
        return np.empty((*shape, channels), dtype=np.uint8)

    def _draw(self, view: RigView, images: U8, rows: Ints, places: Ints, labels: bool) -> None:
        config, count = self.config, len(view.map_id)
        if not count:
            return
        view = view.filled(len(config.cameras))
        slots = self._store.slots(view.map_id)
        self._make_room(view.box_valid.shape[1])
        eyes = lens.eyes_of(config, self._fixed, view.ego_pose, view.ego_pitch, view.turned_deg)
        looks, actors = palette.looks(view, labels), actors_of(view)
        faults = weather.Faults(view.dead, view.dirty, view.dirt_seed)
        banks = weather.NO_BANKS
        if not labels and weather.need_banks(looks, faults):
            banks = weather.banks_of(config.height_px, config.width_px)
        rows, places = np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64)
        step = max(1, _CHUNK // len(config.cameras))
        for start in range(0, count, step):
            part = slice(start, start + step)
            ends = self._list(
                eyes[part], looks[part], Actors(*(a[part] for a in actors)), slots[part]
            )
            picture.draw_pictures(
                images, rows[part], places, self._listing, ends, eyes[part], looks[part],
                weather.Faults(*(f[part] for f in faults)), self._maps, banks, self._pen,
                self._scratch, labels,
            )  # fmt: skip

    def _list(self, eyes, looks, actors, slots):  # type: ignore[no-untyped-def]
        """List the shapes of some rows; a list that proves too short grows."""
        ends = np.zeros(eyes.size + 1, dtype=np.int64)
        while True:
            listing = self._listing
            picture.list_pictures(
                listing, ends, eyes, looks, actors, slots, self._store.arrays, models(),
                self._sorting, self._full,
            )  # fmt: skip
            shapes, corners = (int(used) for used in listing.used)
            if shapes <= len(listing.shapes) and corners <= len(listing.corners):
                return ends
            self._listing = new_listing(2 * shapes, 2 * corners)

    def _make_room(self, actors: int) -> None:
        """Grow the scratch for the maps and boxes at hand."""
        store, config = self._store, self.config
        sizes = (store.max_corners, store.max_stands + actors, store.max_paint)
        if all(a <= b for a, b in zip(sizes, self._sizes, strict=True)):
            return
        corners, most_items, paint = map(max, sizes, self._sizes)
        self._sizes = (corners, most_items, paint)
        self._pen = new_pen(
            config.supersample * config.height_px, config.supersample * config.width_px, corners,
            5 * paint + 4 * corners + 64, config.supersample > 1,
        )  # fmt: skip
        self._sorting = picture.new_sorting(most_items + 1)

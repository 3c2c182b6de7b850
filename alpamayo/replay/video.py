"""A video of a replay that browsers play: top view, and the cameras beside it.

Written through PyAV (extra ``video``): ``.mp4`` as H.264 (VP9 where the build has no x264),
``.webm`` as VP9; 8-bit 4:2:0 either way.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alpamayo.replay.files import require, whole_file
from alpamayo.replay.format import Replay
from alpamayo.replay.topdown import TopDown, locate
from alpamayo.types import RequestError

Image = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]

_CODECS = {".mp4": ("libx264", "libvpx-vp9"), ".webm": ("libvpx-vp9",)}
_OPTIONS = {
    "libx264": {"crf": "21", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "32", "b": "0", "deadline": "good", "cpu-used": "5"},
}


@contextmanager
def open_video(
    path: Path, width_px: int, height_px: int, fps: Fraction
) -> Iterator[Callable[[Image], None]]:
    """A function that appends frames [H, W, 3] RGB to ``path``; odd sides lose their last pixel."""
    av = require("av", "video")
    codecs = _CODECS.get(path.suffix)
    if codecs is None:
        raise RequestError(f"{path}: expected a name that ends with {' or '.join(_CODECS)}")
    codec = next((c for c in codecs if c in av.codecs_available), None)
    if codec is None:
        raise RequestError(f"{path}: this build of PyAV has no {' or '.join(codecs)}")
    width, height = width_px // 2 * 2, height_px // 2 * 2
    # The index before the pictures: players start before they have it all.
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=fps, options=_OPTIONS[codec])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base, stream.codec_context.thread_count = 1 / fps, 1  # equal files everywhere
        count = 0

        def append(image: Image) -> None:
            nonlocal count
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]))
            frame.pts, frame.time_base = count, 1 / fps
            count += 1
            container.mux(stream.encode(frame))

        yield append
        container.mux(stream.encode())


def write_video(
    path: str | Path,
    replay: Replay,
    fps: int = 20,
    size_px: int = 560,
    progress: Progress | None = None,
) -> Path:
    """Top view and cameras side by side, between recorded moments by interpolation."""
    file = Path(path)
    if file.suffix not in _CODECS:
        raise RequestError(f"{file}: expected a name that ends with {' or '.join(_CODECS)}")
    top, times = TopDown(replay, size_px), replay.columns["ego"][:, 4]
    width = size_px * 2 if "jpeg" in replay.columns else size_px
    moments = np.arange(times[0], times[-1] + 1e-9, 1.0 / fps)
    with (
        whole_file(file) as part,
        open_video(part, width, size_px, Fraction(fps)) as append,
    ):
        for n, time_s in enumerate(moments, 1):
            append(_compose(replay, top, float(time_s), width))
            if progress is not None:
                progress(n, len(moments))
    return file


def _compose(replay: Replay, top: TopDown, time_s: float, width: int) -> Image:
    import cv2

    image = top.draw(time_s)
    k, _ = locate(replay.columns["ego"][:, 4], time_s)
    speed = replay.columns["ego"][k, 3] * 3.6
    label = (
        f"{replay.header.scenario.id}  {replay.header.policy}  {time_s:4.1f} s  {speed:3.0f} km/h"
    )
    cv2.putText(
        image, label, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (20, 24, 32), 1, cv2.LINE_AA
    )
    if width == image.shape[1]:
        return image
    views = camera_images(replay, k)
    return np.concatenate([image, _stacked(views, image.shape[0])], axis=1)


def camera_images(replay: Replay, frame: int) -> list[Image]:
    """The cameras' images [H, W, 3] before decision ``frame``; none without cameras."""
    from PIL import Image as Pictures

    jpeg, rig = replay.image(frame), replay.header.sim_config.rig
    if jpeg is None or rig is None:
        return []
    size = (rig.width_px * len(rig.cameras), rig.height_px)
    refused = RequestError(f"{replay.header.title}: image {frame}: expected a JPEG of {size}")
    try:
        with Pictures.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
            if picture.size != size:  # known before anything is unpacked
                raise refused
            decoded = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Pictures.DecompressionBombError):
        raise refused from None
    return [np.ascontiguousarray(v) for v in np.split(decoded, len(rig.cameras), axis=1)]


def _stacked(views: list[Image], size: int) -> Image:
    """The views below each other in a square of ``size`` pixels, two a row if there are many."""
    import cv2

    square = np.zeros((size, size, 3), dtype=np.uint8)
    columns = 1 if len(views) < 3 else 2
    rows = -(-len(views) // columns)
    for n, view in enumerate(views):
        scale = min(size / columns / view.shape[1], size / rows / view.shape[0])
        width, height = int(view.shape[1] * scale), int(view.shape[0] * scale)
        resized = cv2.resize(view, (width, height), interpolation=cv2.INTER_CUBIC)
        y = n // columns * (size // rows) + (size // rows - height) // 2
        x = n % columns * (size // columns) + (size // columns - width) // 2
        square[y : y + height, x : x + width] = resized
    return square

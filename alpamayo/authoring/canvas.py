"""Pictures with readable text: a Pillow image with the few marks that storyboards need."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from alpamayo.types import RequestError

Color = tuple[int, int, int]
INK, SOFT, PAPER, LINE = (29, 35, 48), (95, 105, 124), (255, 255, 255), (214, 219, 228)
EGO, BAD, GOOD = (37, 99, 201), (192, 54, 44), (35, 128, 74)


@lru_cache(maxsize=16)
def font(size: int) -> Any:
    """Pillow's own font, so that pictures are alike on every machine."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> float:
    return float(font(size).getlength(text))


def shortened(text: str, size: int, width: float) -> str:
    """``text``, cut with dots where it is wider than ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "...", size) > width:
        text = text[:-1]
    return text.rstrip() + "..."


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """At most ``lines`` lines of at most ``width`` pixels."""
    out: list[str] = []
    words = text.split()
    while words and len(out) < lines:
        line = words.pop(0)
        while words and text_width(f"{line} {words[0]}", size) <= width:
            line = f"{line} {words.pop(0)}"
        out.append(line)
    if words:
        out[-1] = shortened(f"{out[-1]} {' '.join(words)}", size, width)
    return out


class Canvas:
    """RGB, ``width`` x ``height`` pixels."""

    def __init__(self, width: int, height: int, color: Color = PAPER) -> None:
        self.image = Image.new("RGB", (width, height), color)
        self.draw = ImageDraw.Draw(self.image)

    def paste(self, pixels: npt.NDArray[np.uint8], x: int, y: int) -> None:
        """``pixels`` [h, w, 3]."""
        self.image.paste(Image.fromarray(np.ascontiguousarray(pixels)), (x, y))

    def text(
        self, x: float, y: float, text: str, size: int, color: Color = INK, anchor: str = "lm"
    ) -> None:
        self.draw.text((x, y), text, fill=color, font=font(size), anchor=anchor)

    def bold(self, x: float, y: float, text: str, size: int, color: Color = INK) -> None:
        self.draw.text((x, y), text, fill=color, font=font(size), anchor="lm", stroke_width=0.45)

    def badge(self, x: float, y: float, text: str, color: Color, size: int = 15) -> None:
        """A filled disc with a letter or number; middle at (x, y)."""
        r = 0.68 * size
        box = (x - r, y - r, x + r, y + r)
        self.draw.ellipse(box, fill=color, outline=PAPER, width=2)
        self.draw.text((x, y), text, fill=PAPER, font=font(size - 2), anchor="mm", stroke_width=0.3)

    def diamond(self, x: float, y: float, text: str, color: Color, size: int = 15) -> None:
        """A filled diamond with a letter."""
        r = 0.95 * size
        points = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
        self.draw.polygon(points, fill=color, outline=PAPER, width=2)
        self.draw.text((x, y), text, fill=PAPER, font=font(size - 2), anchor="mm", stroke_width=0.3)

    def plate(self, x: float, y: float, text: str, size: int, color: Color = INK) -> None:
        """Text on a light plate, its left middle at (x, y)."""
        width = text_width(text, size)
        box = (x - 5, y - 0.72 * size, x + width + 5, y + 0.72 * size)
        self.draw.rounded_rectangle(box, 4, fill=PAPER)
        self.text(x, y, text, size, color)

    def save(self, path: Path) -> None:
        """PNG, whole or not at all."""
        check_png(path)
        part = path.with_name(f".part-{path.name}")
        try:
            self.image.save(part, format="PNG", optimize=True)
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise RequestError(f"{path}: expected a writable place ({error.strerror})") from None


def check_png(path: Path) -> None:
    if path.suffix != ".png":
        raise RequestError(f"{path}: expected a name that ends with .png")

"""What every SVG file of ours begins with, and its words."""

from __future__ import annotations

from xml.sax.saxutils import escape

INK, GREY, GRID, BLUE, ORANGE, PAPER = "#222", "#767676", "#e2e2e2", "#0b6bcb", "#c2410c", "#fff"


def document(width: int, height: int, body: str) -> str:
    """``body`` on paper."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="11" fill="{INK}">\n<rect width="100%" height="100%" fill="{PAPER}"/>\n'
        f"{body}\n</svg>\n"
    )


def text(
    x: float, y: float, words: str, anchor: str = "start", color: str = INK,
    weight: str = "normal", size: int = 11,
) -> str:  # fmt: skip
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" '
        f'font-weight="{weight}" font-size="{size}">{escape(words)}</text>'
    )


def panel(x: float, y: float, body: str) -> str:
    """``body`` with its corner at ``x``, ``y``."""
    return f'<g transform="translate({x},{y})">{body}</g>'

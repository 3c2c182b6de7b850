"""The coverage of a run as one self-contained HTML page: heat maps of cells and of tag pairs."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from alpamayo.authoring.coverage import Cell, Coverage, ParameterCoverage, ScenarioCoverage

_STYLE = Path(__file__).with_name("coverage.css")


def render_page(coverage: Coverage, title: str) -> str:
    """The page's text. Colour: episodes over what plain draws would bring; dashed red: none."""
    figures = "".join(
        f"<div class='figure'><b>{done}</b> of {total}<br><span class='soft'>{name}</span></div>"
        for name, (done, total) in coverage.figures.items()
    )
    order = sorted(coverage.scenarios, key=lambda s: (s.episodes == 0, s.family, s.id))
    cards = "".join(_card(s) for s in order)
    elsewhere = ""
    if coverage.elsewhere:
        names = ", ".join(f"{n} ({k})" for n, k in sorted(coverage.elsewhere.items()))
        elsewhere = f"<p class='soft'>Driven too, but not asked for: {html.escape(names)}</p>"
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>"
        f"<h1>{html.escape(title)}</h1>"
        "<p class='soft'>One box per cell of a parameter, as wide as its share of the scenario's "
        "own draws, and the episodes in it (the tool tip tells values and failures): the "
        "darker the more for its width. Dashed red: never driven.</p>"
        f"<div class='figures'>{figures}</div>{elsewhere}<h2>Scenarios and their parameters</h2>"
        f"<div class='grid'>{cards}</div><h2>Pairs of tags</h2>"
        "<p class='soft'>Episodes whose scenario has both tags. Empty: no scenario has both.</p>"
        f"<div class='scroll'>{_matrix(coverage)}</div></body></html>\n"
    )


def _card(scenario: ScenarioCoverage) -> str:
    share = f", {scenario.failures} failed" if scenario.failures else ""
    told = f"{scenario.episodes} episodes{share}" if scenario.episodes else "not driven"
    rows = "".join(_row(p, scenario.episodes) for p in scenario.parameters)
    none = "" if scenario.episodes else " none"
    return (
        f"<div class='card{none}'><h3>{html.escape(scenario.id)} "
        f"<span class='soft'>{scenario.kind}, {told}</span></h3>{rows}</div>"
    )


def _row(parameter: ParameterCoverage, episodes: int) -> str:
    cells = "".join(_cell(cell, episodes) for cell in parameter.cells)
    name = html.escape(parameter.name)
    return (
        f"<div class='row'><span title='{name}'>{name}</span><div class='cells'>{cells}</div></div>"
    )


def _cell(cell: Cell, episodes: int) -> str:
    told = f"{cell.label}: {cell.episodes} episodes, {cell.failures} failures"
    width = f"flex: {cell.share:.4f} 1 0"
    if not cell.episodes:
        text = "0" if episodes else ""
        return f"<div class='cell missed' style='{width}' title='{html.escape(told)}'>{text}</div>"
    # Even draws fill a cell to its share; twice as much is full colour.
    heat = min(cell.episodes / max(cell.share * episodes, 1e-9) / 2.0, 1.0)
    color = f"background: rgba(var(--heat), {0.12 + 0.6 * heat:.2f})"
    return (
        f"<div class='cell' style='{width}; {color}' title='{html.escape(told)}'>"
        f"{cell.episodes}</div>"
    )


def _matrix(coverage: Coverage) -> str:
    tags: Sequence[str] = sorted({tag for pair in coverage.pairs for tag in pair.tags})
    known = {pair.tags: pair for pair in coverage.pairs}
    most = max([1, *(pair.episodes for pair in coverage.pairs)])
    head = "".join(f"<th>{html.escape(tag)}</th>" for tag in tags[:-1])
    body = []
    for i, row in enumerate(tags[1:], 1):
        cells = []
        for column in tags[:i]:
            pair = known.get((column, row))
            if pair is None:
                cells.append("<td class='no'></td>")
                continue
            told = html.escape(f"{column} + {row}: {', '.join(pair.scenarios)}")
            if not pair.episodes:
                cells.append(f"<td class='missed' title='{told}'>0</td>")
                continue
            heat = 0.12 + 0.6 * (pair.episodes / most) ** 0.5
            cells.append(
                f"<td style='background: rgba(var(--heat), {heat:.2f})' title='{told}'>"
                f"{pair.episodes}</td>"
            )
        body.append(f"<tr><th>{html.escape(row)}</th>{''.join(cells)}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

"""Write a document back as YAML: complete, without ``extends``; what equals a default is left out.

Loading what was dumped gives the same document.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from scenarios.evaluate import find_rule
from scenarios.quantities import File
from scenarios.schema import ScenarioDocument
from scenarios.yaml_tree import Loc

_HISTORY = {"extends", "without"}


def plain(document: ScenarioDocument, folder: Path | None = None) -> dict[str, Any]:
    """The document as plain data. Paths of maps and recorded trajectories are as seen from
    ``folder`` (default: as they are written).
    """
    data = document.model_dump(exclude_defaults=True, exclude=_HISTORY)
    if folder is not None and document.tree is not None:
        _move_files(document, data, document, (), folder)
    return data


def dump(document: ScenarioDocument, folder: Path | None = None) -> str:
    """YAML text of ``plain``."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # type: ignore[assignment]  # lists and mappings of scalars on one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 1000
    out = io.StringIO()
    yaml.dump(plain(document, folder), out)
    return out.getvalue()


def _move_files(
    document: ScenarioDocument, data: Any, model: BaseModel, loc: Loc, folder: Path
) -> None:
    for name, info in type(model).model_fields.items():
        raw, place = getattr(model, name), (*loc, name)
        if name not in data or raw is None:
            continue
        if isinstance(raw, BaseModel):
            _move_files(document, data[name], raw, place, folder)
        elif isinstance(raw, list):
            for i, item in enumerate(raw):
                if isinstance(item, BaseModel):
                    _move_files(document, data[name][i], item, (*place, i), folder)
        elif (
            isinstance(raw, str)
            and not raw.startswith("$")
            and isinstance(find_rule(info.annotation, info.metadata), File)
        ):
            data[name] = os.path.relpath(document.tree.folder(place) / raw, folder)

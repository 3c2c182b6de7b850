"""The hash of what a scenario document means."""

from __future__ import annotations

import hashlib
import json

from scenarios.meaning import meaning
from scenarios.schema import ScenarioDocument

# Part of the hash: changes when the one form of a document does.
_FORM = "alpamayo scenario meaning 1"


def document_hash(document: ScenarioDocument) -> str:
    """64 hex digits that change when and only when the meaning changes: see
    ``scenarios.meaning``.
    """
    text = json.dumps([_FORM, meaning(document)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

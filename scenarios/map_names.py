"""Names of the lanes of an OpenDRIVE file, as the simulator calls them, without reading more."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from xml.parsers import expat

from alpamayo.types import RequestError

MAX_BYTES = 64 << 20


class _Names:
    """Expat's callbacks. A road's sections are numbered from 0 in the order of the file."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._road, self._section = "", -1

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "road":
            self._road, self._section = attributes.get("id", "").strip(), -1
        elif tag == "laneSection":
            self._section += 1
        elif tag == "lane" and self._section >= 0:
            lane = attributes.get("id", "").strip()
            if lane not in ("", "0"):
                self.found.append(f"road{self._road}_s{self._section}_l{lane}")

    def end(self, tag: str) -> None:
        if tag == "road":
            self._section = -1

    @staticmethod
    def doctype(*_: object) -> None:
        raise ValueError("expected no document type declaration, got one")


def lane_names(file: str) -> tuple[str, ...]:
    """``road<id>_s<lane section>_l<lane id>`` of every lane; raises RequestError with the line for
    what is no XML. The simulator leaves out lanes that nobody can be on.
    """
    path = Path(file)
    return _lane_names(file, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _lane_names(file: str, _changed_ns: int) -> tuple[str, ...]:
    path = Path(file)
    if path.stat().st_size > MAX_BYTES:
        raise RequestError(f"{path.name}: expected at most {MAX_BYTES >> 20} MB")
    parser, names = expat.ParserCreate(), _Names()
    parser.StartElementHandler = names.start
    parser.EndElementHandler = names.end
    parser.StartDoctypeDeclHandler = names.doctype
    try:
        parser.Parse(path.read_bytes(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        # ValueError and LookupError: an encoding that Python does not know
        place = f"{path.name}:{parser.CurrentLineNumber}"
        raise RequestError(f"{place}: expected an OpenDRIVE file: {error}") from None
    except OSError as error:
        raise RequestError(f"{path.name}: cannot be read ({error.strerror})") from None
    if not names.found:
        raise RequestError(f"{path.name}: expected an OpenDRIVE file with lanes, got none")
    return tuple(names.found)

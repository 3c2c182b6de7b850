"""Mutations of the three kinds of files that people share: replays, settings, checkpoints.

Case ``number`` of a kind is always the same mutation of the same original: a case that fails can be
made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 10**6, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.0, -0.0,
    -1.5, 1e-300, 1e300, 1e9, "", "x", "nan", "inf", "-inf", "../../etc/passwd", "/dev/zero",
    "a" * 5000, "\x00", "\ud800", "${oc.env:HOME}", "__import__('os').system('true')", [], {},
    [[]], [None], [1] * 20_000, {"a": {"b": []}}, {"__class__": "os"}, [0.5, "x"],
)  # fmt: skip
TEXTS = (
    "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "&a [*a]", "*x",
    "&a [&b [*b, *b], *b]", "{a: 1, a: 2}", "${oc.env:HOME}", "${seed}", "[" * 3000, "{" * 3000,
    "\t", "---\n---", "%YAML 9.9", "? ", "? ? ? x", "1e999", ".nan", "0x" + "f" * 400, "9" * 5000,
    "|\n" + "x" * 10_000, "\ufeff", "\x85", "!!binary x", "!!set {a}", "<<: *a",
)  # fmt: skip


# ---- bytes ----
def mutate_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bytes changed, or a piece cut, doubled, moved, zeroed or replaced by noise."""
    kind, size = int(rng.integers(7)), max(len(data), 1)
    a, b = sorted(int(v) for v in rng.integers(0, size, 2))
    if kind == 0:
        return data[:a]
    if kind == 1:
        return data[:a] + data[b:]
    if kind == 2:
        return data[:b] + data[a:]
    if kind == 3:
        return data[:a] + bytes(min(b - a, 64)) + data[a + min(b - a, 64) :]
    if kind == 4:
        noise = rng.integers(0, 256, int(rng.integers(1, 64)), dtype=np.uint8).tobytes()
        return data[:a] + noise + data[a + len(noise) :]
    changed = bytearray(data or b"x")
    for place in rng.integers(0, len(changed), int(rng.integers(1, 9))):
        changed[place] = (
            int(rng.integers(256)) if kind == 5 else changed[place] ^ (1 << int(rng.integers(8)))
        )
    return bytes(changed)


# ---- documents ----
def mutate_document(document: Any, rng: np.random.Generator) -> None:
    """Change one to three values anywhere in a tree of dictionaries and lists, in place."""
    for _ in range(int(rng.integers(1, 4))):
        places = [place for place in _places(document) if place]
        if not places:
            return
        *path, last = places[int(rng.integers(len(places)))]
        parent = document
        for key in path:
            parent = parent[key]
        _change(parent, last, rng)


def _places(tree: Any) -> list[list[Any]]:
    found, waiting = [], [(tree, [])]
    while waiting:
        node, place = waiting.pop()
        found.append(place)
        if isinstance(node, dict):
            waiting += [(v, [*place, k]) for k, v in node.items()]
        elif isinstance(node, list):
            waiting += [(v, [*place, n]) for n, v in enumerate(node[:50])]
    return found


def _change(parent: Any, key: Any, rng: np.random.Generator) -> None:
    kind, value = int(rng.integers(6)), parent[key]
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[str(key) + "x"] = parent.pop(key)
    elif kind == 2 and isinstance(value, int | float) and not isinstance(value, bool):
        scale = [-1, 0, 0.5, 2, 10, 1e3, 1e6, 1e12, 1e-9][int(rng.integers(9))]
        parent[key] = type(value)(min(value * scale, 1e300))
    elif kind == 3 and isinstance(value, list) and value:
        parent[key] = value * 2 if rng.integers(2) else value[:-1]
    elif kind == 4:
        nested: Any = value
        for _ in range(int(rng.choice([1, 3, 100, 3000]))):
            nested = [nested] if rng.integers(2) else {"a": nested}
        parent[key] = nested
    else:
        parent[key] = HOSTILE[int(rng.integers(len(HOSTILE)))]


def dump(document: Any) -> bytes:
    """JSON, however deep."""
    try:
        return json.dumps(document).encode("utf-8", "surrogatepass")
    except (RecursionError, ValueError):  # deeper than Python goes, or digits beyond its limit
        return b"[" * 100_000


# ---- replays ----
def mutate_replay(original: Path, out: Path, rng: np.random.Generator) -> None:
    kind = int(rng.integers(10))
    if kind < 3:
        out.write_bytes(mutate_bytes(original.read_bytes(), rng))
        return
    with zipfile.ZipFile(original) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    names = list(members)
    name = names[int(rng.integers(len(names)))]
    if kind < 7:
        _with_header(members, lambda d: mutate_document(d, rng))
    elif kind == 7:
        members[name] = mutate_bytes(members[name], rng)
    elif kind == 8:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
        members[name] = _npy(_mutated_array(array, rng))
    elif rng.integers(2):
        del members[name]
    else:
        members[["evil.py", "../x.npy", "header.npz", name + "x"][int(rng.integers(4))]] = members[
            name
        ]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def _with_header(members: dict[str, bytes], change: Callable[[Any], None]) -> None:
    """Changes the header; the scenario's hash is made to fit, as whoever means harm would."""
    from alpamayo.replay.codec import from_plain
    from alpamayo.replay.format import hash_of
    from alpamayo.types import RequestError, Scenario

    data = json.loads(np.load(io.BytesIO(members["header.npy"])).tobytes())
    change(data)
    # Where it is no scenario any more, what reading says to it is what counts.
    with contextlib.suppress(RequestError, TypeError, KeyError, ValueError, RecursionError):
        data["scenario_hash"] = hash_of(from_plain(Scenario, data["scenario"], "scenario"))
    members["header.npy"] = _npy(np.frombuffer(dump(data), np.uint8))


def _mutated_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind, changed = int(rng.integers(6)), array.copy()
    if kind == 0 and array.size:
        return changed[:-1]
    if kind == 1:
        return np.concatenate([changed, changed])
    if kind == 2:
        return changed.astype([np.int64, np.float16, np.complex128, "S8"][int(rng.integers(4))])
    if kind == 3:
        return changed.reshape(-1)
    if kind == 4:
        return np.asfortranarray(changed[None])
    flat = changed.reshape(-1)
    if flat.size:
        values = (
            (np.nan, np.inf, -np.inf, 1e30, -1e30) if changed.dtype.kind == "f" else (0, 1, 127)
        )
        flat[rng.integers(0, flat.size, 3)] = values[int(rng.integers(len(values)))]
    return changed


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


# ---- settings ----
def mutate_settings(original: Path, out: Path, rng: np.random.Generator) -> None:
    text = original.read_bytes()
    kind = int(rng.integers(4))
    if kind == 0:
        out.write_bytes(mutate_bytes(text, rng))
    elif kind == 1:
        lines = text.decode().splitlines()
        place = int(rng.integers(len(lines)))
        key = lines[place].split(":")[0]
        value = TEXTS[int(rng.integers(len(TEXTS)))]
        lines[place] = f"{key}: {value}" if rng.integers(3) else value
        out.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    else:
        import yaml

        document = yaml.safe_load(text)
        mutate_document(document, rng)
        try:
            out.write_bytes(yaml.safe_dump(document).encode("utf-8", "surrogatepass"))
        except (RecursionError, ValueError):
            out.write_bytes(b"a: " + b"[" * 50_000)


# ---- checkpoints ----
def mutate_checkpoint(original: Path, out: Path, rng: np.random.Generator) -> None:
    """``out`` is a directory, made anew."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(original, out)
    config, weights = out / "config.json", out / "model.safetensors"
    kind = int(rng.integers(10))
    if kind < 4:
        document = json.loads(config.read_text())
        mutate_document(document, rng)
        config.write_bytes(dump(document))
    elif kind == 4:
        config.write_bytes(mutate_bytes(config.read_bytes(), rng))
    elif kind < 8:
        _mutate_weights_header(weights, rng)
    elif kind == 8:
        weights.write_bytes(mutate_bytes(weights.read_bytes(), rng))
    else:
        _swap_files(out, rng)


def _mutate_weights_header(weights: Path, rng: np.random.Generator) -> None:
    data = weights.read_bytes()
    size = int.from_bytes(data[:8], "little")
    head, body = data[8 : 8 + size], data[8 + size :]
    if rng.integers(2):
        document = json.loads(head)
        mutate_document(document, rng)
        head = dump(document)
    else:
        head = mutate_bytes(head, rng)
    told = [len(head), 0, 1, len(head) - 1, 2**40, 2**63, 2**64 - 1][int(rng.integers(7))]
    told = len(head) if rng.integers(3) else told
    weights.write_bytes(told.to_bytes(8, "little") + head + body)


def _swap_files(out: Path, rng: np.random.Generator) -> None:
    config, weights = out / "config.json", out / "model.safetensors"
    kind = int(rng.integers(5))
    if kind == 0:
        weights.unlink()
        (out / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    elif kind == 1:
        index = {"weight_map": {"x": HOSTILE[int(rng.integers(len(HOSTILE)))]}}
        weights.rename(out / "model-00001-of-00001.safetensors")
        (out / "model.safetensors.index.json").write_bytes(dump(index))
    elif kind == 2:
        weights.write_bytes(config.read_bytes())
    elif kind == 3:
        config.write_bytes(b"\xff\xfe" + config.read_bytes())
    else:
        config.unlink()
        config.mkdir()

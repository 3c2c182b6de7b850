"""Read scenario files: YAML -> ``extends`` -> schema -> meaning; every error of a file at once.

Errors read ``file:line:col: key.path: message``. A file may change another one (``extends:
cut_in``):

* mappings are merged key by key, the file's own value wins; ``null`` removes the inherited key,
* ``actors`` are merged by ``id`` (same id: merged like a mapping; new id: appended),
* every other list is replaced (``events: []`` removes the danger), and so are distributions of
parameters,
* ``without: [van]`` leaves inherited actors out, together with their events.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from alpamayo.types import RequestError
from scenarios.evaluate import unit_at
from scenarios.quantities import near
from scenarios.schema import ScenarioDocument
from scenarios.yaml_tree import (
    Loc,
    LocatedProblem,
    Mark,
    Problem,
    ScenarioFileError,
    Tree,
    read_tree,
)

MAX_EXTENDS = 4
NUMBER = "expected a number"
_NOT_INHERITED = ("extends", "without")


def load_document(id_or_path: str | Path) -> ScenarioDocument:
    """The document of a library id (``cut_in``) or of a file; raises ScenarioFileError with all
    its problems.
    """
    from scenarios.catalog import resolve

    path = resolve(id_or_path)
    return _load_cached(str(path.resolve()), path.stat().st_mtime_ns)


@lru_cache(maxsize=1024)
def _load_cached(path: str, _changed_ns: int) -> ScenarioDocument:
    return load_file(Path(path))


def load_file(path: Path) -> ScenarioDocument:
    """As ``load_document``, always reading the file."""
    tree = _resolved_tree(path, ())
    if not isinstance(tree.value, dict):
        if not tree.problems:
            where = tree.mark(())
            tree.problems.append(LocatedProblem(where, "", "expected settings (key: value)"))
        raise ScenarioFileError(ordered(tree.problems))
    return _document(tree)


def _document(tree: Tree) -> ScenarioDocument:
    from scenarios.checks import check_draws, check_raw

    problems = list(tree.problems)
    document: ScenarioDocument | None = None
    try:
        document = ScenarioDocument.model_validate(tree.value)
    except ValidationError as error:
        problems += [tree.locate(problem) for problem in schema_problems(error, tree.value)]
    problems += [tree.locate(problem) for problem in check_raw(tree)]
    if document is not None and not problems:
        document._tree = tree
        problems += [tree.locate(problem) for problem in check_draws(document)]
    if problems or document is None:
        raise ScenarioFileError(ordered(problems))
    return document


def ordered(problems: list[LocatedProblem]) -> list[LocatedProblem]:
    return sorted(dict.fromkeys(problems), key=lambda p: (p.mark.file, p.mark.line, p.mark.column))


# --------------------------------------------------------------------------------------
# Schema errors
# --------------------------------------------------------------------------------------
def schema_problems(
    error: ValidationError, value: Any, root: type[BaseModel] = ScenarioDocument
) -> list[Problem]:
    problems = []
    from scenarios.migrate import version_hint

    for item in error.errors(include_url=False, include_input=True):
        kind, message = item["type"], item["msg"]
        keep_last = kind in ("extra_forbidden", "missing")
        loc, model = _written_place(item["loc"], value, root, keep_last)
        if kind == "extra_forbidden":
            known = list(model.model_fields) if model else []
            hint = near(str(loc[-1]), known) or f"; known here: {', '.join(known)}"
            message = f"unknown key{hint}"
        elif kind == "missing":
            message = "missing"
        elif kind == "literal_error":
            expected = item["ctx"]["expected"].replace("True", "true")
            if loc == ("schema_version",):
                problems.append(
                    Problem(
                        loc,
                        f"expected {expected}, got {item['input']}{version_hint(item['input'])}",
                    )
                )
                continue
            words = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
            message = f"expected {expected}, got {item['input']}{near(str(item['input']), words)}"
        elif kind in ("too_short", "too_long"):
            bound = item["ctx"].get("min_length") or item["ctx"].get("max_length")
            most = "at least" if kind == "too_short" else "at most"
            message = f"expected {most} {bound} items, got {item['ctx']['actual_length']}"
        elif kind == "range":
            message = item["ctx"]["rule"].complaint(item["ctx"]["value"], unit_at(loc))
        elif kind == "quantity" and unit_at(loc):
            message = f"expected a number of {unit_at(loc)}{message.removeprefix(NUMBER)}"
        elif kind == "string_pattern_mismatch":
            message = "expected a name of small letters, digits and _"
        elif message.startswith("Input should be "):
            message = "expected " + message.removeprefix("Input should be ")
        problems.append(Problem(loc, message))
    return problems


def _written_place(
    loc: Loc, value: Any, root: type[BaseModel], keep_last: bool
) -> tuple[Loc, type[BaseModel] | None]:
    """``loc`` without pydantic's own tags, and the model whose key is the last element.

    ``keep_last``: the last element is a key's name even if the file lacks it (a missing key).
    """
    place: list[str | int] = []
    model: type[BaseModel] | None = root
    for i, key in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(value, dict):
            written = key in value
        else:
            written = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if written:
            place.append(key)
            if not last:
                model = _model_of(model, key)
                value = value[key]  # type: ignore[index]
        elif last and keep_last:
            place.append(key)
    return tuple(place), model


def _model_of(model: type[BaseModel] | None, key: str | int) -> type[BaseModel] | None:
    """Model of the value under ``key`` (list items and dict values keep the model of their
    container).
    """
    if model is None or isinstance(key, int) or key not in model.model_fields:
        return model
    found = _find_model(model.model_fields[key].annotation)
    return found or model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    from typing import get_args

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _find_model(inner)
        if found is not None:
            return found
    return None


# --------------------------------------------------------------------------------------
# extends
# --------------------------------------------------------------------------------------
def _resolved_tree(path: Path, chain: tuple[Path, ...]) -> Tree:
    path = path.resolve()
    tree = read_tree(path, _shown(path))
    if not isinstance(tree.value, dict):
        return tree
    base_name = tree.value.get("extends")
    if isinstance(base_name, str):
        base = _base_tree(tree, base_name, path, (*chain, path))
        if base is not None:
            tree = _merged(base, tree)
    _leave_out(tree)
    return tree


def _shown(path: Path) -> str:
    """A resolved path as the user would write it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _base_tree(tree: Tree, name: str, path: Path, chain: tuple[Path, ...]) -> Tree | None:
    from scenarios.catalog import resolve

    def refuse(message: str) -> None:
        tree.problems.append(tree.locate(Problem(("extends",), message)))

    try:
        sibling = path.parent / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
        base_path = sibling if sibling.is_file() else resolve(name)
    except RequestError as error:
        refuse(str(error))
        return None
    if base_path.resolve() in chain:
        refuse(f"{name} extends this file in turn; expected no loop")
        return None
    if len(chain) > MAX_EXTENDS:
        refuse(f"expected at most {MAX_EXTENDS} files that extend each other")
        return None
    base = _resolved_tree(base_path, chain)
    if not isinstance(base.value, dict):
        refuse(f"{name} is not a scenario")
        return None
    return base


def _merged(base: Tree, own: Tree) -> Tree:
    """``own`` laid over ``base``, with the marks of whichever file wrote each key."""
    result = Tree(own.file, {}, dict.fromkeys([()], own.mark(())), [*base.problems, *own.problems])
    result.folders = base.folders | own.folders
    inherited = {k: v for k, v in base.value.items() if k not in _NOT_INHERITED}
    result.value = _merge_mapping(inherited, own.value, (), base, own, result)
    return result


def _merge_mapping(
    base: dict[str, Any], own: dict[str, Any], loc: Loc, base_tree: Tree, own_tree: Tree, out: Tree
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key in dict.fromkeys([*base, *own]):
        place = (*loc, key)
        if key not in own:
            merged[key] = base[key]
            _copy_marks(base_tree, place, place, out)
        elif key in base and own[key] is None:
            continue
        elif (
            loc == ()
            and key == "actors"
            and isinstance(base.get(key), list)
            and isinstance(own[key], list)
        ):
            out.marks[place] = own_tree.mark(place)
            merged[key] = _merge_actors(base[key], own[key], base_tree, own_tree, out)
        elif (
            isinstance(base.get(key), dict)
            and isinstance(own[key], dict)
            and loc != ("parameters",)
        ):
            out.marks[place] = own_tree.mark(place)
            merged[key] = _merge_mapping(base[key], own[key], place, base_tree, own_tree, out)
        else:
            merged[key] = own[key]
            _copy_marks(own_tree, place, place, out)
    return merged


def _merge_actors(
    base: list[Any], own: list[Any], base_tree: Tree, own_tree: Tree, out: Tree
) -> list[Any]:
    changes = {
        a["id"]: i
        for i, a in enumerate(own)
        if isinstance(a, dict) and isinstance(a.get("id"), str)
    }
    merged: list[Any] = []
    used: set[int] = set()
    for i, actor in enumerate(base):
        name = actor.get("id") if isinstance(actor, dict) else None
        place: Loc = ("actors", len(merged))
        if isinstance(name, str) and name in changes:
            j = changes[name]
            used.add(j)
            shifted = Tree(own_tree.file, None, _moved(own_tree, ("actors", j), place))
            from_base = Tree(base_tree.file, None, _moved(base_tree, ("actors", i), place))
            out.marks[place] = own_tree.mark(("actors", j))
            merged.append(_merge_mapping(actor, own[j], place, from_base, shifted, out))
        else:
            _copy_marks(base_tree, ("actors", i), place, out)
            merged.append(actor)
    for j, actor in enumerate(own):
        if j not in used:
            _copy_marks(own_tree, ("actors", j), ("actors", len(merged)), out)
            merged.append(actor)
    return merged


def _moved(tree: Tree, source: Loc, target: Loc) -> dict[Loc, Mark]:
    n = len(source)
    return {(*target, *loc[n:]): mark for loc, mark in tree.marks.items() if loc[:n] == source}


def _copy_marks(tree: Tree, source: Loc, target: Loc, out: Tree) -> None:
    out.marks.update(_moved(tree, source, target))


def _leave_out(tree: Tree) -> None:
    """Apply ``without``."""
    names = tree.value.get("without")
    actors = tree.value.get("actors")
    if not isinstance(names, list) or not isinstance(actors, list):
        return
    known = [a.get("id") for a in actors if isinstance(a, dict) and isinstance(a.get("id"), str)]
    for i, name in enumerate(names):
        if name not in known:
            problem = Problem(("without", i), f"no inherited actor {name}{near(str(name), known)}")
            tree.problems.append(tree.locate(problem))
    for key in ("init", "events"):
        _leave_out_events(tree, key, names)
    _filter(tree, "actors", [not (isinstance(a, dict) and a.get("id") in names) for a in actors])


def _leave_out_events(tree: Tree, key: str, names: list[Any]) -> None:
    entries = tree.value.get(key)
    if isinstance(entries, list):
        keep = [not (isinstance(e, dict) and e.get("actor") in names) for e in entries]
        _filter(tree, key, keep)


def _filter(tree: Tree, key: str, keep: list[bool]) -> None:
    kept = [i for i, ok in enumerate(keep) if ok]
    marks = {loc: mark for loc, mark in tree.marks.items() if loc[:1] != (key,) or loc == (key,)}
    for new, old in enumerate(kept):
        marks.update(_moved(tree, (key, old), (key, new)))
    tree.value[key] = [tree.value[key][i] for i in kept]
    tree.marks = marks

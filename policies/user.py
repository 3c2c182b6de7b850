"""A user's own driver: a class by import path (``my_pkg.my_mod:MyPolicy``), or one that an
installed package offers under the entry point group ``alpamayo.policies``.

The class (or a function that makes the policy) is called without arguments. Whatever is wrong with
it is said in one line that begins with the words the user typed.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from alpamayo.types import Policy, RequestError

GROUP = "alpamayo.policies"
_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_KEYWORDS = ("noise_keys", "privileged")


def is_import_path(spec: str) -> bool:
    return _IMPORT_PATH.fullmatch(spec) is not None


def offered() -> dict[str, EntryPoint]:
    """Name -> entry point of every policy that an installed package offers."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_user_policy(spec: str) -> Policy:
    """The policy behind an import path or an entry point's name."""
    point = None if is_import_path(spec) else offered()[spec]
    target = spec if point is None else point.value
    if not is_import_path(target):
        raise RequestError(f"policy {spec}: its entry point: expected module:Class, got {target}")
    made = _make(spec, _find(spec, target))
    _check(spec, made)
    return made


def _find(spec: str, target: str) -> Any:
    """The object that ``module:attribute`` names."""
    module_name, _, path = target.partition(":")
    found: Any = _import(spec, module_name)
    for part in path.split("."):
        if not hasattr(found, part):
            known = (
                [n for n in vars(found) if not n.startswith("_")]
                if hasattr(found, "__dict__")
                else []
            )
            near = difflib.get_close_matches(part, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RequestError(f"policy {spec}: {module_name} has no {path}{hint}")
        found = getattr(found, part)
    return found


def _import(spec: str, module: str) -> Any:
    if "" not in sys.path and "." not in sys.path:
        sys.path.append("")  # the working directory, after everything that is installed
    try:
        importlib.invalidate_caches()
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise RequestError(
                f"policy {spec}: no module {missing} in Python's path or the working directory"
            ) from None
        raise RequestError(f"policy {spec}: importing {module}: {error}") from None
    except Exception as error:
        raise RequestError(f"policy {spec}: importing {module}: {_where(error)}") from error


def _make(spec: str, factory: Any) -> Any:
    if not callable(factory):
        raise RequestError(
            f"policy {spec}: expected a class or a function, got {type(factory).__name__}"
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise RequestError(f"policy {spec}: it is called without arguments: {error}") from None
    except ValueError:
        pass  # some built-in callables have no signature; calling it tells
    try:
        return factory()
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"policy {spec}: making it: {_where(error)}") from error


def _check(spec: str, policy: Any) -> None:
    """Raise ``RequestError`` unless ``policy`` keeps to ``alpamayo.types.Policy``."""
    if not isinstance(getattr(policy, "needs_privileged", None), bool):
        raise RequestError(f"policy {spec}: needs_privileged: expected True or False")
    if not isinstance(getattr(policy, "name", None), str):
        raise RequestError(f"policy {spec}: name: expected a string")
    plan = getattr(policy, "plan", None)
    if not callable(plan):
        raise RequestError(f"policy {spec}: expected a method plan")
    keywords = [*_KEYWORDS, *(["memory"] if getattr(policy, "needs_memory", False) else [])]
    try:
        inspect.signature(plan).bind(None, **dict.fromkeys(keywords))
    except TypeError as error:
        raise RequestError(
            f"policy {spec}: plan: expected plan(observation, *, {', '.join(keywords)}): {error}"
        ) from None


def _where(error: Exception) -> str:
    """An error of the user's code with the line it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words} ({last.filename}:{last.lineno})"

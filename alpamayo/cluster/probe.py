"""Runs on the cluster before a job does, and says what is there: versions, resources, and whether
the storage can be written. It must run with nothing but Python and Ray, so it imports nothing of
this package.

``python probe.py STORAGE`` prints one line: ``MARK`` and a JSON document.
"""

import importlib.util
import json
import os
import platform
import sys

MARK = "ALPAMAYO-PROBE "
PACKAGES = ("torch", "gymnasium", "numpy", "omegaconf", "safetensors", "numba", "pydantic", "cv2")


def writable(storage):  # type: ignore[no-untyped-def]
    """Why ``storage`` cannot be written, or "" if it can."""
    try:
        if "://" in storage:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(storage)
            filesystem.makedirs(path, exist_ok=True)
            with filesystem.open(path.rstrip("/") + "/.alpamayo-probe", "wb") as file:
                file.write(b"ok")
            filesystem.rm(path.rstrip("/") + "/.alpamayo-probe")
        else:
            os.makedirs(storage, exist_ok=True)
            name = os.path.join(storage, f".alpamayo-probe-{os.getpid()}")
            with open(name, "w") as file:
                file.write("ok")
            os.remove(name)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def found():  # type: ignore[no-untyped-def]
    """Which of ``PACKAGES`` can be imported, without importing them."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is not None]


def main(storage):  # type: ignore[no-untyped-def]
    import ray

    ray.init(log_to_driver=False, logging_level="ERROR")
    # What else Ray counts (memory, each node's own name) is of no interest.
    hidden = ("memory", "object_store_memory")
    nodes = [
        {k: v for k, v in node["Resources"].items() if k not in hidden and ":" not in k}
        for node in ray.nodes()
        if node["Alive"]
    ]
    told = {
        "python": platform.python_version(),
        "ray": ray.__version__,
        "packages": found(),
        "alpamayo": importlib.util.find_spec("alpamayo") is not None,
        "nodes": nodes,
        "storage_problem": writable(storage),
    }
    print(MARK + json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""A run on one machine is nobody else's business: nothing listens beyond it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpamayo.config import RunConfig

LISTENING = "0A"


def listening(pids: set[int]) -> Iterator[str]:
    """Addresses on which the processes ``pids`` accept connections, from the kernel's tables."""
    sockets: set[str] = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(link))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                # Words of four bytes, each in the machine's order.
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
                yield str(ipaddress.ip_address(b"".join(words)))


def is_here(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_local_run_listens_on_the_loopback_interface_only() -> None:
    import ray

    from alpamayo.rollout.ray_session import descendants, ray_session

    @ray.remote
    class Actor:
        def ready(self) -> bool:
            return True

    with ray_session(RunConfig(), object_store_memory=100 << 20):
        actor = Actor.remote()
        assert ray.get(actor.ready.remote(), timeout=120.0)
        pids = {os.getpid(), *(pid for pid, _ in descendants(os.getpid()))}
        found = sorted(set(listening(pids)))
    assert found, "Ray listens somewhere"
    assert [address for address in found if not is_here(address)] == []


def test_addresses_are_told_apart() -> None:
    assert is_here("127.0.0.1") and is_here("::1") and is_here("::ffff:127.0.0.1")
    assert not is_here("0.0.0.0") and not is_here("::") and not is_here("192.0.2.2")

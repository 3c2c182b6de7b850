"""The ring of past frames against a plain list of everything that was ever drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.config import CameraConfig, RigConfig
from sim.sensors import FrameRing

SIZE = (8, 8)


def rig_of(cameras, frames):
    names = tuple(CameraConfig(f"c{i}") for i in range(cameras))
    return RigConfig(*SIZE, frames, 0.4, 1, names)


def image_of(world, camera, decision):
    """A frame that says whose it is."""
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    image[0, 0] = world, camera, decision
    return image


def frames_of(world, decision, cameras):
    return np.stack([image_of(world, c, decision) for c in range(cameras)])


def write_newest(ring, world, decision, cameras):
    ring.images[world, ring.places()] = frames_of(world, decision, cameras)
    ring.tags[world, ring.place(0)] = decision


@given(
    cameras=st.integers(1, 4),
    frames=st.integers(1, 4),
    gap=st.integers(1, 3),
    restarts=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_the_window_shows_what_a_list_would(cameras, frames, gap, restarts):
    rig = rig_of(cameras, frames)
    ring = FrameRing(2, rig, gap)
    decision = [0, 0]
    for world in range(2):
        write_newest(ring, world, 0, cameras)
    ring.fill(np.array([0, 1]))
    for restart in restarts:
        ring.advance()
        decision = [decision[0] + 1, 0 if restart else decision[1] + 1]
        for world in range(2):
            write_newest(ring, world, decision[world], cameras)
        if restart:
            ring.fill(np.array([1]))
        window = ring.window
        assert window.shape == (2, cameras * frames, *SIZE, 3)
        for world in range(2):
            wanted = [
                image_of(world, c, max(decision[world] - gap * (frames - 1 - f), 0))
                for c in range(cameras)
                for f in range(frames)
            ]
            np.testing.assert_array_equal(window[world], wanted)
            known = ring.tags[world, ring.place(gap * np.arange(frames))]
            assert known.tolist() == [max(decision[world] - gap * k, 0) for k in range(frames)]


def test_handing_out_the_window_copies_nothing():
    ring = FrameRing(3, rig_of(2, 4), 1)
    for _ in range(20):
        ring.advance()
        assert np.shares_memory(ring.window, ring.images)


def test_without_past_frames_nothing_moves():
    ring = FrameRing(2, rig_of(3, 1), 1)
    assert ring.images.shape[1] == 3
    for decision in range(5):
        for world in range(2):
            write_newest(ring, world, decision, 3)
        before = ring.images.copy()
        ring.advance()
        ring.hold(np.array([1]))
        np.testing.assert_array_equal(ring.images, before)
        assert (ring.tags[:, ring.place(0)] == decision).all(), "what is old is told by its number"


@pytest.mark.parametrize(("cameras", "frames", "gap"), [(1, 2, 1), (4, 4, 1), (2, 3, 4)])
def test_an_advance_moves_at_most_one_frame_on_average(cameras, frames, gap):
    rig = rig_of(cameras, frames)
    ring = FrameRing(1, rig, gap)
    width = cameras * frames * gap
    moved = 0
    for _ in range(10 * (width + 1)):
        before = ring.images.copy()
        ring.images[:] = np.random.default_rng(0).integers(1, 255, ring.images.shape)
        before = ring.images.copy()
        ring.advance()
        moved += int((before != ring.images).any(axis=(0, 2, 3, 4)).sum())
    assert moved <= 10 * (width + 1)
    assert ring.images.shape[1] == 2 * width


@pytest.mark.parametrize(("cameras", "frames", "gap"), [(1, 2, 1), (3, 3, 1), (2, 2, 3)])
def test_a_world_that_stands_still_keeps_its_frames(cameras, frames, gap):
    ring = FrameRing(2, rig_of(cameras, frames), gap)
    for decision in range(40):
        for world in range(2):
            if world == 0 or decision < 20:
                write_newest(ring, world, decision, cameras)
        if decision == 0:
            ring.fill(np.array([0, 1]))
        if decision == 19:
            kept = ring.window[1].copy()
        ring.advance()
        if decision >= 19:
            ring.hold(np.array([1]))
            # What fell off when the window went back to its start is drawn again.
            ago = np.arange(frames * gap - 1, -1, -1)
            lost = ago[ring.tags[1, ring.place(ago)] < 0]
            assert len(lost) <= 1
            for k in lost:
                images = frames_of(1, 19 - k, cameras)[None]
                ring.write(np.array([1]), np.array([k]), images, np.array([19 - k]))
            np.testing.assert_array_equal(ring.window[1], kept)
            assert ring.tags[1, ring.place(ago)].tolist() == (19 - ago).tolist()


def test_what_is_not_known_says_so():
    ring = FrameRing(2, rig_of(1, 3), 2)
    assert (ring.tags == -1).all()
    rows = np.array([1, 1, 1])
    decisions = np.array([5, 7, 9])
    images = np.stack([frames_of(1, d, 1) for d in decisions])
    ring.write(rows, np.array([4, 2, 0]), images, decisions)
    np.testing.assert_array_equal(ring.window[1], images[:, 0])
    assert ring.tags[1, ring.place([4, 3, 2, 1, 0])].tolist() == [5, -1, 7, -1, 9]
    ring.advance()
    # The frames in between are those of the next observation.
    assert ring.tags[1, ring.place([4, 2, 0])].tolist() == [-1, -1, -1]
    ring.advance()
    assert ring.tags[1, ring.place([4, 2, 0])].tolist() == [7, 9, -1]
    ring.forget(np.array([1]))
    assert (ring.tags[1] == -1).all()

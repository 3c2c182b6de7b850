"""Plan views and lane lines of OpenDRIVE against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp
from scipy.special import fresnel

from sim.roads.lines import F64
from sim.roads.opendrive.curves import Piece, PlanView, Shape, arc, polynomial, spiral, straight
from tests.sim.xodr import by_name, geometry, lane, line, read, road, section

curvatures = st.floats(-0.2, 0.2)


def heading_integral(first: float, last: float, length: float, s: float) -> tuple[float, float]:
    """x and y of a spiral by adaptive quadrature."""
    rate = (last - first) / length
    x = quad(lambda t: np.cos(first * t + 0.5 * rate * t * t), 0.0, s, limit=2000, epsabs=1e-10)[0]
    y = quad(lambda t: np.sin(first * t + 0.5 * rate * t * t), 0.0, s, limit=2000, epsabs=1e-10)[0]
    return x, y


@settings(max_examples=40, deadline=None)
@given(curvatures, curvatures, st.floats(0.5, 120.0), st.floats(0.0, 1.0))
def test_a_spiral_is_where_adaptive_quadrature_puts_it(first, last, length, share):
    row = spiral(length, first, last)(np.array([share * length]))[0]
    np.testing.assert_allclose(
        row[:2], heading_integral(first, last, length, share * length), atol=1e-8
    )
    s = share * length
    assert row[2] == pytest.approx(first * s + 0.5 * (last - first) / length * s * s, abs=1e-12)
    assert row[3] == pytest.approx(first + (last - first) * share, abs=1e-12)
    assert row[4] == pytest.approx((last - first) / length)


def test_a_clothoid_of_a_kilometre_is_within_a_micrometre_of_the_fresnel_integrals():
    length, last = 1000.0, 0.01
    s = np.linspace(0.0, length, 501)
    scale = np.sqrt(np.pi * length / last)  # turn = s^2 last / (2 length) = pi / 2 (s / scale)^2
    sine, cosine = fresnel(s / scale)
    rows = spiral(length, 0.0, last)(s)
    np.testing.assert_allclose(rows[:, 0], scale * cosine, atol=1e-6)
    np.testing.assert_allclose(rows[:, 1], scale * sine, atol=1e-6)


def test_a_spiral_of_constant_curvature_is_the_arc_and_one_of_none_the_straight():
    s = np.linspace(0.0, 60.0, 121)
    np.testing.assert_allclose(spiral(60.0, 0.02, 0.02)(s), arc(0.02)(s), atol=1e-10)
    np.testing.assert_allclose(spiral(60.0, 0.0, 0.0)(s), straight(s), atol=1e-12)


@given(curvatures.filter(lambda k: abs(k) > 1e-6), st.floats(0.0, 200.0))
def test_an_arc_lies_on_its_circle(curvature, s):
    u, v, turn, bend, change = arc(curvature)(np.array([s]))[0]
    radius = 1.0 / curvature
    assert u == pytest.approx(radius * np.sin(s * curvature), abs=1e-9)
    assert v == pytest.approx(radius * (1.0 - np.cos(s * curvature)), abs=1e-8)
    assert (turn, bend, change) == (pytest.approx(s * curvature), curvature, 0.0)


def arc_length(u: list[float], v: list[float], to: float) -> float:
    du, dv = (np.polynomial.Polynomial(c).deriv() for c in (u, v))
    return quad(lambda p: np.hypot(du(p), dv(p)), 0.0, to, epsabs=1e-11, limit=500)[0]


def check_against_arc_length(shape: Shape, u: list[float], v: list[float], scale: float, to: float):
    """Points at parameters p lie where the shape says they are at p's own arc length."""
    p = np.linspace(0.0, to, 13)
    s = np.array([arc_length(u, v, float(end)) for end in p]) / scale
    rows = shape(s)
    pu, pv = (np.polynomial.Polynomial(c) for c in (u, v))
    np.testing.assert_allclose(rows[:, 0], pu(p), atol=1e-6)
    np.testing.assert_allclose(rows[:, 1], pv(p), atol=1e-6)
    np.testing.assert_allclose(rows[:, 2], np.arctan2(pv.deriv()(p), pu.deriv()(p)), atol=1e-6)


@pytest.mark.parametrize("normalized", [True, False])
def test_param_poly3_walks_by_arc_length(normalized):
    u, v = [0.0, 30.0, -4.0, 1.0], [0.0, 0.0, 12.0, -3.0]
    if not normalized:  # the same curve in p from 0 to 28
        u = [c / 28.0**k for k, c in enumerate(u)]
        v = [c / 28.0**k for k, c in enumerate(v)]
    to = 1.0 if normalized else 28.0
    whole = arc_length(u, v, to)
    shape, arc_m, slowest = polynomial(whole, u, v, to, fit=True)
    assert arc_m == pytest.approx(whole, abs=1e-9)
    assert slowest > 20.0
    check_against_arc_length(shape, u, v, 1.0, to)


def test_a_param_poly3_whose_length_is_told_wrong_is_stretched_over_it():
    u, v = [0.0, 30.0, 0.0, 0.0], [0.0, 0.0, 10.0, 0.0]
    whole = arc_length(u, v, 1.0)
    shape, arc_m, _ = polynomial(0.9 * whole, u, v, 1.0, fit=True)
    assert arc_m == pytest.approx(whole)
    check_against_arc_length(shape, u, v, 1.0 / 0.9, 1.0)
    np.testing.assert_allclose(shape(np.array([0.9 * whole]))[0, :2], [30.0, 10.0], atol=1e-6)


def test_poly3_ends_where_its_own_arc_length_does():
    v = [0.0, 0.0, 0.01, 1e-4]
    shape, _, _ = polynomial(40.0, [0.0, 1.0, 0.0, 0.0], v, 40.0, fit=False)
    u_end, v_end = shape(np.array([40.0]))[0, :2]
    assert arc_length([0.0, 1.0, 0.0, 0.0], v, u_end) == pytest.approx(40.0, abs=1e-7)
    assert v_end == pytest.approx(0.01 * u_end**2 + 1e-4 * u_end**3)


@pytest.mark.parametrize(
    "shape",
    [
        spiral(50.0, -0.02, 0.05),
        polynomial(33.0, [0, 30.0, -4.0, 1.0], [0, 0.0, 12.0, -3.0], 1.0, fit=True)[0],
    ],
)
def test_curvature_is_the_change_of_heading_and_bend_that_of_curvature(shape):
    s = np.linspace(1.0, 30.0, 25)
    step = 1e-4
    before, at, after = shape(s - step), shape(s), shape(s + step)
    scale = np.hypot(*(after - before)[:, :2].T) / (2 * step)  # 1 unless the curve is stretched
    np.testing.assert_allclose((after - before)[:, 2] / (2 * step), at[:, 3] * scale, atol=1e-6)
    np.testing.assert_allclose((after - before)[:, 3] / (2 * step), at[:, 4] * scale, atol=1e-5)


def test_a_plan_view_joins_its_pieces_and_reports_where_they_do_not_meet():
    first = Piece(0.0, 10.0, 0.0, 0.0, 0.0, straight)
    second = Piece(10.0, 10.0, 10.0, 0.0, 2.0 * np.pi, arc(0.1))
    plan = PlanView((first, second))
    reference = plan.at(np.array([5.0, 10.0, 20.0]))
    np.testing.assert_allclose(reference.xy[:2], [[5.0, 0.0], [10.0, 0.0]])
    np.testing.assert_allclose(reference.xy[2], [10.0 + 10 * np.sin(1.0), 10.0 * (1 - np.cos(1.0))])
    np.testing.assert_allclose(reference.heading, [0.0, 0.0, 1.0], atol=1e-12)
    assert plan.gaps() == 0
    assert PlanView((first, Piece(10.0, 1.0, 10.0, 0.2, 0.0, straight))).gaps() == 1
    assert PlanView((first, Piece(10.0, 1.0, 10.0, 0.0, 0.1, straight))).gaps() == 1


def driven(line_xy: F64, s_m: F64, heading: F64, curvature: F64) -> F64:
    """Where one ends who drives the curvature profile from the line's first pose (Runge-Kutta)."""

    def motion(s: float, state: F64) -> list[float]:
        return [np.cos(state[2]), np.sin(state[2]), float(np.interp(s, s_m, curvature))]

    start = [*line_xy[0], heading[0]]
    solved = solve_ivp(motion, (0.0, s_m[-1]), start, max_step=0.5, rtol=1e-8, atol=1e-9)
    return solved.y[:, -1]


@pytest.mark.parametrize("lane_id", [-1, 1])
def test_a_lane_with_offset_and_width_cubics_keeps_place_heading_and_curvature_together(
    tmp_path, lane_id
):
    plan = geometry('<spiral curvStart="0.0" curvEnd="0.02"/>', 60.0, 5.0, -3.0, 0.4)
    offset = '<laneOffset s="0" a="0.2" b="0" c="0.003" d="-0.00003"/>'
    width = '<width sOffset="0" a="3" b="0" c="0.002" d="-0.00002"/>'
    text = road("1", plan, section(lane(-1, width), lane(1, width)), 60.0, offset=offset)
    line = by_name(read(tmp_path, text))[f"road1_s0_l{lane_id}"].line
    chords = np.hypot(*np.diff(line.xy, axis=0).T)
    np.testing.assert_allclose(np.diff(line.s_m), chords, rtol=1e-4)
    # Headings are those of the chords, to the second order of their length.
    middle = 0.5 * (line.heading[1:] + line.heading[:-1])
    np.testing.assert_allclose(
        np.unwrap(np.arctan2(*np.diff(line.xy, axis=0).T[::-1])), middle, atol=2e-5
    )
    end = driven(line.xy, line.s_m, line.heading, line.curvature)
    np.testing.assert_allclose(end[:2], line.xy[-1], atol=2e-3)
    assert end[2] == pytest.approx(line.heading[-1], abs=1e-4)


def test_a_lane_beside_an_arc_is_the_arc_of_the_smaller_radius(tmp_path):
    plan = geometry('<arc curvature="0.02"/>', 50.0)
    layout = read(tmp_path, road("1", plan, section(lane(1, 4.0), lane(-1, 4.0)), 50.0))
    inner, outer = (by_name(layout)[f"road1_s0_l{id}"].line for id in (1, -1))
    centre = np.array([0.0, 50.0])
    for own, radius, sign in ((inner, 48.0, -1.0), (outer, 52.0, 1.0)):
        np.testing.assert_allclose(np.hypot(*(own.xy - centre).T), radius, atol=1e-9)
        assert own.length_m == pytest.approx(radius, abs=1e-6)  # a whole radian of it
        np.testing.assert_allclose(own.curvature, sign / radius, atol=1e-12)
    assert inner.heading[0] == pytest.approx(np.angle(np.exp(1j * (1.0 + np.pi))))


def test_heights_follow_the_elevation_profile_in_the_direction_of_travel(tmp_path):
    more = (
        "<elevationProfile><elevation s='0' a='1' b='0.05' c='0' d='0'/>"
        "<elevation s='20' a='2' b='0.05' c='-0.001' d='0'/></elevationProfile>"
    )
    layout = read(tmp_path, road("1", line(50.0), section(lane(1), lane(-1)), 50.0, more=more))
    along, against = (by_name(layout)[f"road1_s0_l{id}"].line for id in (-1, 1))
    s = np.array([0.0, 10.0, 20.0, 35.0, 50.0])
    want = [1.0, 1.5, 2.0, 2.0 + 0.75 - 0.225, 2.0 + 1.5 - 0.9]
    np.testing.assert_allclose(along.elevation_at(s), want, atol=1e-9)
    np.testing.assert_allclose(against.elevation_at(50.0 - s), want, atol=1e-9)
    assert all(surface.shape[1] == 3 for surface in layout.surfaces)
    flat = read(tmp_path, road("1", line(50.0), section(lane(-1)), 50.0))
    assert flat.lanes[0].line.z_m is None

"""The seam between what drives and everything else: the ``Policy`` protocol and a check of its
answers."""

from __future__ import annotations

import numpy as np

from alpamayo.types import ObservationBatch, PlanBatch, PlanSpec, Policy, PrivilegedView

__all__ = ["ObservationBatch", "PlanBatch", "PlanSpec", "Policy", "PrivilegedView", "check_plan"]


def check_plan(plan: PlanBatch, rows: int, spec: PlanSpec) -> None:
    """Raise ``ValueError`` unless ``plan`` holds ``rows`` finite plans of ``spec.steps`` steps."""
    expected = (rows, spec.steps)
    for name in ("accel_mps2", "curvature_per_m"):
        column = getattr(plan, name)
        if column.shape != expected:
            raise ValueError(f"plan.{name} must be {expected}, got {tuple(column.shape)}")
        if not np.isfinite(column).all():
            raise ValueError(f"plan.{name} holds values that are not finite")
    if plan.trace is not None and len(plan.trace.tokens) != rows:
        raise ValueError(f"plan.trace must have {rows} rows, got {len(plan.trace.tokens)}")

"""Pure: the spec and the accelerator profiles → a Plan that says what will run where, and why."""

from slipway.operator.planning.make import make_plan
from slipway.operator.planning.plan import Plan, Unplannable

__all__ = ["Plan", "Unplannable", "make_plan"]

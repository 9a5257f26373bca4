"""Pure: the spec and the accelerator profiles → a Plan that says what will run where, and why."""

from slipway.operator.planning.candidates import Running
from slipway.operator.planning.make import make_plan
from slipway.operator.planning.plan import Plan, Unplannable
from slipway.operator.planning.supply import Supply

__all__ = ["Plan", "Running", "Supply", "Unplannable", "make_plan"]

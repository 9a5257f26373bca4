"""The checks, in the order in which they are made: the first that fails is told."""

from slipway_runtime.preflight.checks import device, memory, model, storage

CHECKS = (*device.CHECKS, *model.CHECKS, *memory.CHECKS, *storage.CHECKS)

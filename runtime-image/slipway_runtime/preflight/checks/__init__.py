"""The checks, in their order: the first that fails is reported."""

from slipway_runtime.preflight.checks import device, memory, model, storage

CHECKS = (*device.CHECKS, *model.CHECKS, *memory.CHECKS, *storage.CHECKS)

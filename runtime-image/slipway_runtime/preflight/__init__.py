"""Checks before the slow part of a start: whether this model can run here with these settings, within seconds."""

from slipway_runtime.preflight.host import Device, Host, Support
from slipway_runtime.preflight.machine import read_host
from slipway_runtime.preflight.running import Check, Finding, examine, run
from slipway_runtime.preflight.settings import EngineSettings, of_vllm

__all__ = ["Check", "Device", "EngineSettings", "Finding", "Host", "Support", "examine", "of_vllm", "read_host", "run"]

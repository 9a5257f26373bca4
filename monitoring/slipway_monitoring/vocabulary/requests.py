"""Requests: how many run, wait and are held."""

from __future__ import annotations

from slipway_monitoring.promql import first_of, total
from slipway_monitoring.rule import Group, Recording

RUNNING = (
    "vllm:num_requests_running",
    "llamacpp:requests_processing",
    "sglang:num_running_reqs",
    "lmdeploy:num_requests_running",
    "tgi_batch_current_size",
    'nv_trt_llm_request_metrics{request_type="active"}',
    "ovms_current_graphs",
    "num_requests_running",
)
"""The series of each engine; the last one is that of NIM 1.x."""

WAITING = (
    "vllm:num_requests_waiting",
    "llamacpp:requests_deferred",
    "sglang:num_queue_reqs",
    "lmdeploy:num_requests_waiting",
    "tgi_queue_size",
    "nv_inference_pending_request_count",
    "num_requests_waiting",
)

GROUP = Group(
    name="slipway.requests",
    recordings=(
        Recording(
            name="slipway:requests_running",
            meaning="Requests that an engine computes, in all replicas",
            unit="requests",
            expression=first_of(*map(total, RUNNING)),
        ),
        Recording(
            name="slipway:requests_waiting",
            meaning="Requests that wait for their turn in an engine, in all replicas",
            unit="requests",
            expression=first_of(*map(total, WAITING)),
        ),
        Recording(
            name="slipway:requests_held",
            meaning="Requests that the activators hold until a replica is ready",
            unit="requests",
            expression=total("slipway_activator_held"),
        ),
    ),
)

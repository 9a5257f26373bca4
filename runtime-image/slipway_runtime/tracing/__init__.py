"""Traces over OpenTelemetry, written by hand: what is sent is one POST of JSON (adrs/0007)."""

"""OpenTelemetry traces without its SDK: what is sent is one POST of JSON (adrs/0007)."""

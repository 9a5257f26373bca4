"""Builders of objects, specs and model files, each as small as it can be. They need no cluster and start nothing.

Objects have four forms, and a module for each: what a test creates on a cluster (`objects`, `llmdeployments`), what the
API server in memory stores (`stored`), what the operator observes, with a status (`observed`, `recorded_snapshots`,
`health_cases`), and the typed inputs and outputs of rendering (`rendering`).
"""

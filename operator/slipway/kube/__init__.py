"""The only input and output with the API server, and what keeps the loop running. It knows nothing of our product:
field managers, labels, metric names and the name of the controller arrive as arguments from the programs.

- calls: `client` over `connection`; `call_retries` says which are retried; `errors` is the tree of what can go wrong
- caches: `watching` fills the `store`; `watch` describes what is watched, `kopf_watch` watches, `cache_audit` checks
- reconciles: `work_queue`, by the rules of `queue_backlog` and `queue_backoff`
- one leader: `lease`, with the times of `lease_times`
- for the outside: `events`, `metrics`, and the checks of `health`
"""

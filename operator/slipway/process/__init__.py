"""What Slipway's programs have in common as programs.

- `lifecycle`: how one starts, runs and ends; `flags`, `logs`, `metrics`, and the `management` port
- `guarded_port`, `connection_limits`, `known_connections` and `addresses`: which connections one accepts, and how many
"""

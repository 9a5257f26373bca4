"""Stand-ins for what our programs talk to: API servers, engines, collectors, time; in memory or on loopback."""

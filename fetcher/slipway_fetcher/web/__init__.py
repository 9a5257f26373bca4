"""HTTP: one request with its redirects, the time that servers want to be left alone, and repeated tries."""

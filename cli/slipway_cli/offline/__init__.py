"""Models, profiles and plans without a cluster."""

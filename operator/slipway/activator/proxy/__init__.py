"""The data path: accepts requests, holds them while no replica is ready, and sends each to one that is free."""

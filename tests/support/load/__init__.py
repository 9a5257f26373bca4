"""Clients and people: requests to models, many at a time or for as long as something lasts, and random changes."""

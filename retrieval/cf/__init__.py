"""Scorers: cheap judges of all items from a history alone."""

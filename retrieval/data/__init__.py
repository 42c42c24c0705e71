"""Catalog, events, importers and the workspace that holds them."""

"""Retrieval from item text: encoder, Chroma index, profiles and filters."""

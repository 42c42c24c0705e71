"""Prompt templates as versioned data, and the one way to fill them."""

from prompts.rendering import fill, free, patterns, phrasings, render, shapes, vocabulary, wordings

__all__ = ["fill", "free", "patterns", "phrasings", "render", "shapes", "vocabulary", "wordings"]

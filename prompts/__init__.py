"""Prompt templates as versioned data, and the one way to fill them."""

from prompts.rendering import alternatives, fill, free, patterns, phrasings, render, shapes, vocabulary, wordings

__all__ = ["alternatives", "fill", "free", "patterns", "phrasings", "render", "shapes", "vocabulary", "wordings"]

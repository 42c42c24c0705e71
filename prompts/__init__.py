"""Prompt templates as versioned data, and the one way to fill them."""

from prompts.rendering import render, sentences, vocabulary

__all__ = ["render", "sentences", "vocabulary"]

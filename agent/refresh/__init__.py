"""Drift, and training again what it has made worse: `whyrec refresh`."""

"""How good the recommendations are: what `whyrec evaluate` measures, compares and reports."""

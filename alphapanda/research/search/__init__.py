"""Searching over parameters, tapes and settings: sweeps, walk-forward, sensitivity to assumptions."""

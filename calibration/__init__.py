"""Ranges, gates and thresholds, measured on pairs. A device imports what ``calibrate`` needs."""

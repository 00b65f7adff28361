"""Workshop: ranges, gates and thresholds, measured on pairs. Never imported on a device."""

"""Workshop: from a checkpoint to a bundle. Never imported on a device."""

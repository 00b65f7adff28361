"""Workshop: the AD-Copilot model in torch, its data and its training. Never imported on a device."""

"""Workshop: AD-Copilot in torch, its data and its training. Never imported on a device."""

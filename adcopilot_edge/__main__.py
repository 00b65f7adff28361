"""``python -m adcopilot_edge``, for places where the entry point is not on the path."""

from __future__ import annotations

from adcopilot_edge.cli import main

main()

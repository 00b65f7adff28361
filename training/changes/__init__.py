"""Change pairs made from any photographs: what was edited is known to the pixel."""

from adcopilot_edge.training.changes.edits import CHANGE_LABELS
from adcopilot_edge.training.changes.photos import MIN_SIDE, open_photos
from adcopilot_edge.training.changes.source import PhotoChanges, open_changes

__all__ = ["CHANGE_LABELS", "MIN_SIDE", "PhotoChanges", "open_changes", "open_photos"]

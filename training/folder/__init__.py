"""A user's own folder of golden, good and bad parts as training pairs, with a part held out."""

from adcopilot_edge.training.folder.holdout import held_out_pairs, write_list
from adcopilot_edge.training.folder.parts import Folder, open_folder
from adcopilot_edge.training.folder.settings import FolderSettings, FolderShares
from adcopilot_edge.training.folder.source import FolderPairs

__all__ = [
    "Folder",
    "FolderPairs",
    "FolderSettings",
    "FolderShares",
    "held_out_pairs",
    "open_folder",
    "write_list",
]

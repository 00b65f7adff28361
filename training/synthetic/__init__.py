"""Synthetic inspection pairs with exact truth, free of any licence: one seed, one pair."""

from adcopilot_edge.training.synthetic.generator import check_num_defects, generate_pair
from adcopilot_edge.training.synthetic.records import (
    DEFECT_LABELS,
    SyntheticDefect,
    SyntheticPair,
)
from adcopilot_edge.training.synthetic.surfaces import SURFACES, TRAINING_SURFACES

__all__ = [
    "DEFECT_LABELS",
    "SURFACES",
    "TRAINING_SURFACES",
    "SyntheticDefect",
    "SyntheticPair",
    "check_num_defects",
    "generate_pair",
]

"""Synthetic inspection pairs with exact truth, free of any licence: one seed, one pair."""

from adcopilot_edge.training.synthetic.generator import generate_pair
from adcopilot_edge.training.synthetic.records import (
    DEFECT_LABELS,
    SyntheticDefect,
    SyntheticPair,
)
from adcopilot_edge.training.synthetic.surfaces import SURFACES

__all__ = ["DEFECT_LABELS", "SURFACES", "SyntheticDefect", "SyntheticPair", "generate_pair"]

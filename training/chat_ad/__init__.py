"""Chat-AD: from sparsely labelled images of parts to conversations about pairs (spec section 7)."""

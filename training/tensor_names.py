"""How the tensors of a checkpoint are called on disk and in memory. Knows no model.

The layout on disk is that of the AD-Copilot spec, section 3.5.
"""

from __future__ import annotations

from transformers.core_model_loading import WeightConverter, WeightRenaming, WeightTransform


class _LoadOnlyRenaming(WeightRenaming):
    """A renaming for a spelling that is read but never written."""

    def reverse_transform(self) -> WeightTransform:
        """A renaming that finds nothing in memory, so that saving keeps the plain name."""
        return self.copy(self._original_source_patterns, self._original_target_patterns)


def renamings() -> list[WeightConverter | WeightRenaming]:
    """The layout on disk (spec 3.5): ``visual.*`` and ``model.layers.*``; in-memory names load too.

    Where the queries are an embedding module, the same tensor is ``query_embeddings.weight``.
    """
    return [
        WeightRenaming(r"^visual", "model.visual"),
        WeightRenaming(r"^model(?!\.(language_model|visual))", "model.language_model"),
        _LoadOnlyRenaming(r"query_embeddings\.weight$", "query_embeddings"),
    ]

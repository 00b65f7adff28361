"""The line-side daemon: parts in, one final record each, and nothing lost. Extra ``serve``."""

"""Dialogues written by a vision-language model behind an endpoint, each claim held to the truth."""

"""Prompts and a text to measure a small chat model with."""

from __future__ import annotations

QUESTIONS = (
    "What is the capital of France, and what is it known for?",
    "Explain in simple words why the sky is blue.",
    "Write a short story about a lighthouse keeper.",
    "How do I boil an egg?",
    "List five things to check before soldering a circuit board.",
    "What is the difference between a virus and a bacterium?",
    "Give me a Python function that reverses a string.",
    "Translate 'good morning' into Spanish, Italian and German.",
    "Why do we have seasons on Earth?",
    "Write a polite email that asks for a day off.",
)

# Written for this project; in no training set.
TEXT = """\
The line starts at six. Before the first tray of boards arrives, somebody wipes the dome of the \
ring light, because a single fingerprint there draws a grey crescent over every picture of the \
day. Then the golden board is put under the camera. It is an ordinary board, taken from a good \
lot years ago and kept in a drawer, with a strip of yellow tape on its edge so that nobody ships \
it by mistake. The camera looks at it once, and the picture is what all others are held against.

Most defects are dull. A bridge of solder joins two pads that should not touch. A resistor stands \
on one end like a tombstone, because the paste under its two feet melted at different moments. A \
capacitor is missing, and only its footprint of clean copper says that it was ever meant to be \
there. None of them is hard to see when one knows where to look, but a board has eleven hundred \
joints, and a person who looks at the eight hundredth board of a shift no longer looks at all.

A machine that compares pictures by subtracting them finds all of this and far too much besides. \
It finds that the board lies a fifth of a millimetre further left, that the laminate of this lot \
is a little darker, that the date code has changed. For every true defect it cries wolf thirty \
times, and after a week the operators have learned to press the button without reading. That is \
worse than no machine, because now there is a record which says that everything was checked.

What helps is to ask a different question: not what has changed, but whether the change matters. \
A shadow that moved does not matter. A line of copper that used to end and now goes on does. To \
answer it, one must know what the picture shows, and so the comparison has to happen behind the \
eye, between what was seen here and what was seen there, and not between two tables of numbers. \
The answer should come as a sentence and a box, for a person will have to repair what was found, \
and a person can't repair a score.
"""

"""Safety of the door for HTTP: who may come in, with what, how much of it and how fast."""

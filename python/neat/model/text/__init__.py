"""A trained network as something that reads and writes text, and the state that it keeps of it."""

"""The run directory and its events: what the trainer writes and everything else reads."""

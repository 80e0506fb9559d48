"""The network: one idea per file, torch only. `neat.py` is the wiring; read it first."""

"""NEAT: byte-level language models."""

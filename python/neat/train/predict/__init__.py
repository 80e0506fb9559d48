"""Hybrid prediction: deltas that are computed without a backward pass, applied, measured and corrected.

Read `predictor.py` first: it is called from the training loop and follows the phases of `neat.train.phases`.
"""

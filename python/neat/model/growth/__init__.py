"""From the weights of a network to those of a larger one. Read `spread.py` for the idea, `grow.py` for the use.

`axes.py` says how each kind of channel grows, `roles.py` which channels each dimension of each parameter holds,
`depth.py` where each layer comes from, `check.py` which settings may differ at all.
"""

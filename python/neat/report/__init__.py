"""What a run was, for people who were not there: pages, plots and tables made from its events alone.

A number that no event holds is "not measured". Nothing here imports torch or numpy.
"""

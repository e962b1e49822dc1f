"""What became of runs: found by short addresses, listed by conditions, compared, copied, deleted and reproduced.

Nothing here imports torch, but for reproducing, which trains.
"""

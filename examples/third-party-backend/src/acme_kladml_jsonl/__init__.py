"""A KladML tracker that writes JSON lines, and a journal of runs."""

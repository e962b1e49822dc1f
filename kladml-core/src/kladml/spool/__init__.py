"""A durable record of a run that takes about a microsecond per metric, and its delivery in the background.

A tracker that derives from `SpooledTracker` and brings a `Sink` blocks no training and loses nothing that was
acknowledged, whatever happens to its process, its disk or its server.
"""

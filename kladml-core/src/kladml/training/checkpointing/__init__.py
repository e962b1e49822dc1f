"""Checkpoints: their files, the folder that keeps them, and their copies in a storage."""

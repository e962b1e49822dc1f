"""Files and folders that several processes may use, and that a process may leave unfinished when it dies."""

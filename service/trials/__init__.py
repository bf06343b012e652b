"""Trial loads: a version is first loaded and warmed up in a child process, with limits, before the server loads it."""

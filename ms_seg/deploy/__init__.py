"""Models for devices that run no Python: a graph in a file, and beside it what the file takes and gives."""

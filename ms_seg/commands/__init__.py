"""The commands of `python -m ms_seg`, one file each: what it takes (`add`) and what it does (`run`).

MindSpore is imported inside `run`, so that help and errors in the arguments come at once.
"""

"""The page in a browser, and the JSON door for programs: `python -m ms_seg serve`."""

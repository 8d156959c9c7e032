"""Adapters for training libraries, for scripts that a search runs as a command.

Each module reports what its library measures, keeps checkpoints by the library's own means in
`hpsearch.checkpoint_dir()`, resumes from the newest, and lets the search end the script
(`hpsearch.TrialStopped`). Outside a search they do nothing. A module imports its library; nothing
else of hpsearch imports these modules.
"""

"""Users' own training code as a trainer: a function, a generator or a class.

`functions` has the trainers, `lockstep` the thread that advances a function step by step. What
users see of it, such as `trial.report`, is part of the Python API.
"""

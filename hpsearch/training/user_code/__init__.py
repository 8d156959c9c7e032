"""Users' own training code as a trainer: a function, a generator or a class.

`functions` and `classes` have the trainers, `trial` what user code knows of its trial, `reports`
reads what they report, `lockstep` advances a function step by step. `settings` and `process_state`
keep what the code sets of its thread and process apart. What users see of it, such as
`trial.report`, is part of the Python API.
"""

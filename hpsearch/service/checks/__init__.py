"""The check of a spec at its submission, without any of it run where the service's secrets are.

`submission` is the whole of it: shape here, in bounds; signatures by reading code, and what has to
run, in `worker`, a process that `child` or `cluster` starts. Users' code may forge
what the worker sends: a new field is checked in `submission`.
"""

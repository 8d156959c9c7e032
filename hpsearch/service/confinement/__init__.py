"""Processes that run users' code on the service's own machine, and what keeps them apart.

`confine` and `supervise` are programs of the standard library alone: they start before anything of
the interpreter's packages is imported. `workers` says with what they are called.
"""

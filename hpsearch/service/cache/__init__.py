"""What the service keeps in memory for repeated requests; all of it can be dropped at any time.

`cache` is the one implementation, with its bounds and locks. `records`, `responses` and
`search_list` recompute only what changed; `figures` draws in a process of its own.
"""

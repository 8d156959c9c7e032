"""The service: searches of a team on a Ray cluster, by HTTP.

The desired state of each search is kept in a table; the reconciler makes the world agree with it.
`core` is what users can do, `app` puts the parts together. Users' code runs in none of it, and
what users' code wrote is read through `search_files` and `cache` only.
"""

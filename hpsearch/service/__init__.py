"""The service: searches of a team on a Ray cluster, by HTTP.

The desired state of each search is kept in a table; the reconciler makes the world agree with it.
"""

"""What the service keeps for good: searches, tokens, sessions, quotas, the audit log.

`tables` has the tables and opens the database; every other module owns one of them, and nothing
else writes to it.
"""

"""What the service keeps in memory, because many ask for it again and again.

Records, lists and answers of which only what changed is made anew, and figures, drawn in a process
of their own. All of it can be thrown away.
"""

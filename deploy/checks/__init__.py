"""What must hold of the files in deploy/, checked without Docker or a cluster.

Each check takes parsed files and returns problems as text; none means that it holds.
"""

"""The site's machinery: its settings, and the pages that are generated when it is built.

Each module makes the pages of one subject from the code, as texts; `hooks` gives them to MkDocs.
"""

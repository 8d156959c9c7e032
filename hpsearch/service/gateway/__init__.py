"""Where drivers on the cluster reach MLflow: each writes to its own search's runs, and no others.

Users' code runs on the cluster, and the tracking server has no users. So the cluster reaches only
this gateway: a token names the search, `rules` says what it may write, `owners` what belongs to
it, and `app` forwards.
"""

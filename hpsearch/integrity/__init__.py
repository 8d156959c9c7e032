"""What keeps searches in order: a check that nothing is lost, and the removal of what is left.

Both read a search that is there; neither changes its record or MLflow's view.
"""

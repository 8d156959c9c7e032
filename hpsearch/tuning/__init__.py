"""The search itself: Ray Tune runs the trials, the record comes first, early stopping decides."""

"""The search itself: the record comes first, early stopping decides, Ray Tune runs the trials.

`SearchControl` decides, without Ray; `on_ray` is all that knows Ray.
"""

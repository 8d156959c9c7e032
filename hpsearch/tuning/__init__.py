"""The search itself: the record comes first, early stopping decides, Ray Tune runs the trials.

`SearchControl` decides, without Ray; `on_ray` is all that knows Ray. A new decision belongs into
`control` or `decisions`, written to the record before it is acted on.
"""

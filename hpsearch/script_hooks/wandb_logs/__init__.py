"""Reports what a script logs to W&B.

Only where a spec says `metrics: {from: wandb}`; W&B itself runs offline.
"""

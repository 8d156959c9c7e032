"""What Python imports first in a script: each folder, put on PYTHONPATH, changes one thing in it.

Nothing of hpsearch imports these; a script that isn't run by hpsearch never meets them. They must
import nothing but Python's standard library until the script does.
"""

from pathlib import Path

WANDB_LOGS = Path(__file__).parent / "wandb_logs"
ARGPARSE_OPTIONS = Path(__file__).parent / "argparse_options"

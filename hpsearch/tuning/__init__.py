"""The search itself: Ray Tune runs the trials, the record comes first, early stopping decides."""

import os
import sys
from pathlib import Path

# A Ray head wants its user's token by default, but a driver shows it only if it is told to
# before Ray is imported. Told later, a cluster that it starts would want what it doesn't show.
_token = os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token")
if "ray" not in sys.modules and ("RAY_AUTH_TOKEN" in os.environ or Path(_token).is_file()):
    os.environ.setdefault("RAY_AUTH_MODE", "token")

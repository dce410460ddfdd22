"""What is tested here lies in tools/ and is no package: its folder is made importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

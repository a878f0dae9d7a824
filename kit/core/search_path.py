"""
Search the standard library before the directories of `PYTHONPATH` and the current one, from the import on.

Otherwise a file `json.py` in one of them replaces the module of that name in every command. Modules that are
not in the standard library are found where they were.
"""

import os
import sys

_LIBRARY = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib may be such a file
_EXTENSIONS = os.path.join(_LIBRARY, "lib-dynload")  # noqa: PTH118

sys.path.sort(key=lambda folder: folder not in (_LIBRARY, _EXTENSIONS))

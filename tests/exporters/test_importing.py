"""What answers PyTorch, as it is imported, in which module a frame is."""

from __future__ import annotations

import inspect
import subprocess
import sys

from itr_deploy.exporters import importing
from itr_deploy.exporters.importing import quick_imports


def test_the_module_of_a_frame_is_the_one_that_is_searched_for() -> None:
    frame = sys._getframe()
    searched = inspect.getmodule(frame)
    with quick_imports():
        assert inspect.getmodule(frame) is searched is sys.modules[__name__]
        assert inspect.getmodule(inspect) is inspect
        namespace = {"frame": sys._getframe, "__name__": "inspect"}
        assert inspect.getmodule(eval("frame()", namespace)) is not inspect
    assert inspect.getmodule is importing._searched


def test_an_export_imports_no_lancedb() -> None:
    """It takes a second, and nothing of an export reads a gallery."""
    program = """
import sys
import itr_deploy.deploy.exporting, itr_deploy.exporters.build, itr_deploy.parity.gate
print("lancedb" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"

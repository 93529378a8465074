"""Turn a half-precision bundle into a float32 one that rounds in the same places, for a CPU.

python -m benchmarks.rounded half/ rounded/
itr-deploy evaluate rounded/ --data build/shapes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from itr_deploy.bundle.staging import staged_directory
from itr_deploy.bundle.store import is_only_a_bundle, read_bundle
from itr_deploy.parity.emulated import write_emulated


def main() -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    opened = read_bundle(arguments.bundle)
    kind = {"replaceable": is_only_a_bundle, "kind": "bundle"}
    with staged_directory(arguments.output, force=False, **kind) as root:
        write_emulated(opened, root)


if __name__ == "__main__":
    main()

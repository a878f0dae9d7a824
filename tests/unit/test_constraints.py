"""The pinned development environment installs on the oldest Python that the README names."""

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
DEBIAN_12 = "3.11.2"


def test_every_pinned_package_admits_the_python_of_debian_12():
    pinned = [Requirement(line) for line in CONSTRAINTS.read_text().splitlines()[1:]]
    refusing = {}
    for package in pinned:
        try:
            wanted = metadata(package.name).get("Requires-Python") or ""
        except PackageNotFoundError:  # pinned for another version of Python
            continue
        if not SpecifierSet(wanted).contains(DEBIAN_12):
            refusing[str(package)] = wanted
    assert len(pinned) > 100 and not refusing

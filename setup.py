"""Everything declarative is in pyproject.toml; this puts ``configs/`` into the wheel as
``alpamayo/_configs``.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPyWithConfigs(build_py):
    """An editable install reads ``configs/`` of the checkout, so only real builds copy it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "alpamayo" / "_configs"
            shutil.copytree(Path(__file__).parent / "configs", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildPyWithConfigs})

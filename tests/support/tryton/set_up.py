"""Sets up a Tryton CRM with one call: the module with the custom fields, a database on SQLite, a company's worth of modules.

Run by the Python of `.venv-tryton`, which has no package of this project: `python set_up.py FOLDER PORT`. Leaves FOLDER/trytond.conf and
FOLDER/db/crm.sqlite. Nothing listens yet.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import trytond

DATABASE = "crm"
MODULE = "crm_scoring"


def write_config(folder: Path, port: int) -> Path:
    """A server for this machine only, over databases in FOLDER/db."""
    path = folder / "trytond.conf"
    path.write_text(
        f"[database]\nuri = sqlite://\npath = {folder / 'db'}\n"
        f"[web]\nlisten = 127.0.0.1:{port}\n"
        "[session]\nauthentications = password\n",
        encoding="utf-8",
    )
    return path


def install_module() -> None:
    """Tryton finds modules in its own package only."""
    target = Path(trytond.__file__).parent / "modules" / MODULE
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / MODULE, target, ignore=shutil.ignore_patterns("__pycache__"))


def main() -> None:
    folder, port = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    (folder / "db").mkdir(parents=True, exist_ok=True)
    config = write_config(folder, port)
    install_module()
    # The file must be there, or Tryton says that the database does not exist.
    (folder / "db" / f"{DATABASE}.sqlite").touch()
    admin = [Path(sys.executable).parent / "trytond-admin", "-c", config, "-d", DATABASE]
    environment = {**os.environ, "TZ": "UTC"}
    subprocess.run([*admin, "--all", "--email", "admin@example.com"], env=environment, check=True)
    subprocess.run([*admin, "-u", MODULE, "--activate-dependencies"], env=environment, check=True)


if __name__ == "__main__":
    main()

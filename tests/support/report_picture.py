"""Make docs/images/report.png from the current run's report: `python -m tests.support.report_picture -c data/pipeline.yaml`.

Needs Chromium (Debian: apt-get install chromium). Above: the summary in light colours; below: the forecast in dark ones.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from dagster_project.reporting import find_report
from sales_pipeline.delivery.palette import DARK, LIGHT
from sales_pipeline.lake.layout import Lake
from sales_pipeline.settings import load_settings
from tests.support.chromium import CHROMIUM, chromium

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "report.png"
WIDTH = 1200
COLOURS = 256
MARGIN = 28
GROUNDS = {False: LIGHT["paper"], True: DARK["paper"]}
PARTS = (("#summary", False, None), ("#queue", False, 330), ("#forecast", True, 600))
"""Element, whether in dark colours, and how much of it in pixels."""


def picture(report: Path, profile: Path) -> bytes:
    """The parts below each other, in a palette."""
    shown = []
    with chromium(profile) as tab:
        for selector, is_dark, height in PARTS:
            tab.open(report, WIDTH, is_dark=is_dark)
            part = Image.open(io.BytesIO(tab.picture(selector, height))).convert("RGB")
            shown.append(ImageOps.expand(part, MARGIN, GROUNDS[is_dark]))
    whole = Image.new("RGB", (max(part.width for part in shown), sum(part.height for part in shown)), "white")
    top = 0
    for part in shown:
        whole.paste(part, (0, top))
        top += part.height
    buffer = io.BytesIO()
    whole.quantize(COLOURS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", type=Path, default=Path("data/pipeline.yaml"))
    parser.add_argument("--lake", type=Path)
    arguments = parser.parse_args()
    if CHROMIUM is None:
        print("Chromium is not installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 2
    settings = load_settings(arguments.config, {"lake": arguments.lake.resolve()} if arguments.lake else {})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        content = picture(find_report(Lake(settings.lake), None), Path(profile))
    PICTURE.write_bytes(content)
    print(f"written: {PICTURE} ({len(content):,} bytes)", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

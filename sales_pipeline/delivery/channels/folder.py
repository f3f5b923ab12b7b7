"""A folder another system reads: the whole kit appears in it at once, under its delivery id, or not at all.

It is built beside (in a hidden folder) and renamed, so a reader never sees half of it. A folder of that name with other content is left alone.

Belongs here: copying. Does not belong here: which files a kit has (`copies`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa

from sales_pipeline.delivery.channels.copies import all_succeeded, kept_results, kit_files, parcel_keys
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import FolderChannel
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.errors import DeliveryFailed, EnvironmentProblem
from sales_pipeline.lake.durable import write_directory
from sales_pipeline.lake.tables import file_sha256


class Folder:
    """A channel to one folder, which must be there: a share that is not mounted is not made up for."""

    def __init__(self, params: FolderChannel) -> None:
        self._path = params.path

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Copy the kit, compare what arrived with what was sent, and count its rows as succeeded; see `Channel.send`.

        Raises DeliveryFailed when the folder is missing or other content stands under the delivery's id, and EnvironmentProblem when the disk
        is full or refuses; nothing stands there then. A delivery that is done already is not looked at again: who reads the folder may clear it.
        """
        kept = kept_results(parcel, journal)
        if kept is not None:
            return kept
        keys = parcel_keys(parcel)
        files = kit_files(parcel)
        if not self._path.is_dir():
            raise DeliveryFailed(
                "the folder to deliver to is not there",
                expected="a folder",
                found="nothing" if not self._path.exists() else "something else",
                where=str(self._path),
                fix="mount or make it, then deliver again",
            )
        final = self._path / parcel.delivery_id
        if not journal.notes(None, "copied"):
            self._copy(parcel, files, final)
            journal.note(None, "copied", folder=str(final))
        return all_succeeded(parcel, keys, journal)

    def _copy(self, parcel: Parcel, files: dict[str, str], final: Path) -> None:
        def build(staging: Path) -> None:
            for name, digest in files.items():
                copy = staging / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(parcel.folder / name, copy)
                arrived = file_sha256(copy)
                if arrived != digest:
                    raise DeliveryFailed(
                        "a file did not arrive as it was sent; nothing was delivered",
                        expected=f"sha256 {digest}",
                        found=f"sha256 {arrived}",
                        where=str(final / name),
                        fix="see whether the disk is sound, then deliver again",
                    )

        try:
            is_new = write_directory(final, build)
        except EnvironmentProblem as problem:
            raise EnvironmentProblem(
                "the folder to deliver to cannot be written; nothing of the kit stands there",
                expected=problem.expected,
                found=problem.found,
                where=str(final),
                fix="free some space or mend the permissions, then deliver again",
            ) from problem
        except OSError as error:
            raise DeliveryFailed(
                "the folder to deliver to fails",
                found=os.strerror(error.errno or 0),
                where=str(final),
                fix="see whether the share is there and may be written, then deliver again",
            ) from error
        if not is_new:
            _same(final, files)


def _same(final: Path, files: dict[str, str]) -> None:
    there = {
        path.relative_to(final).as_posix(): file_sha256(path) for path in sorted(final.rglob("*")) if path.is_file()
    }
    differing = sorted(name for name in {*there, *files} if there.get(name) != files.get(name))
    if differing:
        raise DeliveryFailed(
            "other content stands under this delivery's id",
            expected="the kit's files, or nothing",
            found=", ".join(differing[:5]) + (" and more" if len(differing) > 5 else ""),
            where=str(final),
            fix="find out who wrote there; move that folder away, then deliver again",
        )

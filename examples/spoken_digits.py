"""The spoken digits as a folder that `netwright fit` takes: one sub-folder a class, in train/ and test/.

    python examples/spoken_digits.py spoken-digits
    netwright fit examples/spoken_digits.yaml

3,000 recordings by six people, fifty takes of each digit each (the Free Spoken Digit Dataset, Jackson et al., CC BY-SA 4.0);
takes 0 to 4 are the official test set. With `--speaker NAME` that person's recordings are the test set instead, and nobody
hears them in training. The archive is looked for as fsdd/fsdd_recordings.tar.gz in the folder that NETWRIGHT_DATA names.
"""

from __future__ import annotations

import argparse
import os
import tarfile
from pathlib import Path, PurePosixPath


def unpack(archive: Path, folder: Path, *, speaker: str | None = None) -> int:
    """Writes the recordings of the archive (digit_speaker_take.wav) under `folder`; returns how many."""
    count, speakers = 0, set()
    with tarfile.open(archive) as opened:
        for member in opened:
            name = PurePosixPath(member.name)
            content = opened.extractfile(member) if name.suffix == ".wav" else None
            if content is None:
                continue
            digit, who, take = name.stem.split("_")
            held_out = who == speaker if speaker is not None else int(take) < 5
            place = folder / ("test" if held_out else "train") / digit
            place.mkdir(parents=True, exist_ok=True)
            (place / name.name).write_bytes(content.read())
            speakers.add(who)
            count += 1
    if speaker is not None and speaker not in speakers:
        raise SystemExit(f"no recordings by {speaker!r}; there are {', '.join(sorted(speakers))}")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--archive", type=Path, help="fsdd_recordings.tar.gz")
    parser.add_argument("--speaker", help="whose recordings are the test set")
    options = parser.parse_args()
    archive = options.archive or Path(os.environ.get("NETWRIGHT_DATA", ".")) / "fsdd/fsdd_recordings.tar.gz"
    if not archive.is_file():
        raise SystemExit(f"{archive}: no such file; give --archive")
    if options.folder.exists():
        raise SystemExit(f"{options.folder} is there already")
    print(f"{unpack(archive, options.folder, speaker=options.speaker):,} recordings in {options.folder}")


if __name__ == "__main__":
    main()

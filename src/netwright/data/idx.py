"""IDX, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist/, "the IDX file format")."""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np


# `eject` prints this function with inspect.getsource: it may name nothing but the modules imported above.
def read_idx(path: str) -> np.ndarray:
    """Returns the array in an IDX file, gzipped or not, in the dtype and dimensions that its header states.

    Raises ValueError, naming the file, for a wrong magic number, a damaged gzip stream, or more or fewer
    values than the header promises.
    """
    dtypes = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    with open(path, "rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if zipped else open(path, "rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in dtypes or not 1 <= magic[3] <= 8:
                raise ValueError(
                    f"{path}: not an IDX file.\n"
                    f"Expected the magic number 00 00, a type (08 to 0e) and the number of dimensions; "
                    f"came {magic.hex(' ') or 'an empty file'}."
                )
            header = stream.read(4 * magic[3])
            if len(header) < 4 * magic[3]:
                raise ValueError(
                    f"{path}: the IDX header ends after {4 + len(header)} bytes, before its sizes do."
                )
            shape = tuple(np.frombuffer(header, ">u4").tolist())
            dtype = np.dtype(dtypes[magic[2]])
            wanted = math.prod(shape) * dtype.itemsize
            # No gzip stream unfolds more than 1032-fold: a header that promises more is not worth its memory.
            if wanted > os.path.getsize(path) * (1100 if zipped else 1):
                raise ValueError(
                    f"{path}: too short for its header.\n"
                    f"Expected {'x'.join(map(str, shape))} values, {wanted} bytes of them; "
                    f"the file has {os.path.getsize(path)} bytes."
                )
            values = np.empty(shape, dtype)
            space = values.reshape(-1).view(np.uint8).data
            came = 0
            while came < wanted:
                count = stream.readinto(space[came : came + (1 << 24)])
                if not count:
                    raise ValueError(
                        f"{path}: too short for its header.\n"
                        f"Expected {'x'.join(map(str, shape))} values, {wanted} bytes of them; came {came} bytes."
                    )
                came += count
            if stream.read(1):
                raise ValueError(
                    f"{path}: too long for its header.\n"
                    f"Expected {'x'.join(map(str, shape))} values, {wanted} bytes of them; more bytes follow."
                )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected a complete gzip file, came a damaged or truncated one ({error})."
        ) from None
    return values.astype(dtype.newbyteorder("="), copy=False)

# SPDX-License-Identifier: MPL-2.0
"""Packs a folder, on Python's standard library alone: `pack.py zip FOLDER FILE`, `pack.py wheel FOLDER FILE`.

A wheel is a zip whose last file lists the others with their sums. Entries have one date and one order, so that the same
files give the same archive."""
import base64
import hashlib
import os
import sys
import zipfile

DATE = (2026, 1, 1, 0, 0, 0)


def files(folder):
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted((os.path.relpath(path, folder).replace(os.sep, "/"), path) for path in found)


def add(archive, name, data):
    entry = zipfile.ZipInfo(name, DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def main(kind, folder, target):
    record = []
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in files(folder):
            with open(path, "rb") as file:
                data = file.read()
            add(archive, name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append("%s,sha256=%s,%d" % (name, digest, len(data)))
        if kind == "wheel":
            (info,) = {name.split("/")[0] for name, _ in files(folder) if ".dist-info/" in name}
            record.append("%s/RECORD,," % info)
            add(archive, info + "/RECORD", "\n".join(record) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

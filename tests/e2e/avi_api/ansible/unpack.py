"""Takes the files below a folder out of the one source package in this folder: unpack.py <part>."""

import glob
import os
import sys
import tarfile

(package,) = glob.glob("*.tar.gz")
inside = package[: -len(".tar.gz")] + "/" + sys.argv[1]
with tarfile.open(package) as archive:
    for member in archive:
        if member.isfile() and member.name.startswith(inside) and ".." not in member.name:
            os.makedirs(os.path.dirname(member.name), exist_ok=True)
            with open(member.name, "wb") as file:
                file.write(archive.extractfile(member).read())

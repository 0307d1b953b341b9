"""PTX and metadata of many cases in one tar file, to be run where that Triton is not installed"""
import io
import json
import tarfile


def write(path, entries):
    """entries: (version, arch, case name, ptx bytes, metadata)"""
    with tarfile.open(path, "w:xz") as tar:
        for version, arch, name, ptx, metadata in entries:
            for suffix, data in ((".ptx", ptx), (".json", json.dumps(metadata).encode())):
                member = tarfile.TarInfo("%s/%s/%s%s" % (version, arch, name, suffix))
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def read(path):
    """{(version, arch, case name): (ptx bytes, metadata)}"""
    files = {}
    with tarfile.open(path) as tar:
        for member in tar:
            files[member.name] = tar.extractfile(member).read()
    return {tuple(name[:-4].split("/")): (data, json.loads(files[name[:-4] + ".json"]))
            for name, data in files.items() if name.endswith(".ptx")}

"""What a start at Python is made of besides the file itself, so that the host can tell when a result still holds.

While the user's code runs, from the import of the file to Triton's IR, everything it takes from outside is noted: files
read, places where a module was looked for and is not, variables of the environment, what was asked of the file system.
The standard library and Triton itself belong to the installation's identity and are left out. What cannot be checked
again later (a program that was run, a folder that was listed, a socket) makes the result unfit for keeping; an
installed package may do so while it is imported, as its files decide about it. Clocks and random numbers are not seen.
"""
import importlib
import importlib.machinery
import os
import site
import stat
import sys
import sysconfig
import time
from _thread import get_ident

import triton

MOST = 20000  # files and places; beyond that, looking takes as long as compiling
VARIABLES = ("HOME", "PATH", "TMPDIR", "LD_LIBRARY_PATH")  # the host's, which spawn.c hands on
SUFFIXES = (importlib.machinery.EXTENSION_SUFFIXES + importlib.machinery.SOURCE_SUFFIXES +
            importlib.machinery.BYTECODE_SUFFIXES)  # in the order in which a folder is searched
UNSAFE = {"subprocess.Popen": "starts a program", "os.system": "starts a program", "os.exec": "starts a program",
          "os.posix_spawn": "starts a program", "os.fork": "forks", "os.forkpty": "forks",
          "socket.__new__": "opens a socket", "socket.getaddrinfo": "asks for an address",
          "ctypes.dlopen": "opens a shared library", "os.listdir": "lists a folder", "os.scandir": "lists a folder",
          "os.remove": "removes a file", "os.rename": "renames a file", "os.mkdir": "makes a folder"}
WORKER = os.path.dirname(os.path.abspath(__file__))
STANDARD = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")} | {
    sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
TRITON = os.path.dirname(os.path.abspath(triton.__file__))
bootstrap = importlib._bootstrap_external
real_stat = os.stat


def is_under(path, folder):
    return path == folder or path.startswith(folder + "/")


def is_installed(path):
    return "/site-packages/" in path or "/dist-packages/" in path


def is_own(path):
    """Part of what the installation's identity says, or of this worker."""
    if is_under(path, TRITON) or is_under(path, WORKER):
        return True
    return any(is_under(path, folder) for folder in STANDARD) and not is_installed(path + "/")


def sign(path):
    """What tells one content of a file from another; None where there is nothing."""
    try:
        found = real_stat(path)
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, stat.S_IFMT(found.st_mode)


def foreign_modules():
    """Files of modules that are loaded already and belong neither to Python nor to Triton."""
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(file, str) and file.startswith("/") and not is_own(file):
            found[file] = sign(file)
    return found


class Environ(os._Environ):
    """os.environ, which tells the watch what was asked of it."""
    watch = None

    def __getitem__(self, name):
        if self.watch:
            self.watch.note_variable(name)
        return super().__getitem__(name)

    def __iter__(self):
        for name in VARIABLES:
            if self.watch:
                self.watch.note_variable(name)
        return super().__iter__()


class Watch:
    """Of one request, in a process of its own: what it changes in Python stays changed."""

    def __init__(self, loaded, path):
        self.path, self.temporary, self.unsafe = path, os.getcwd(), None
        self.on, self.busy = False, None  # the thread that is noting something
        self.files, self.missing, self.folders, self.variables = {}, set(), set(), {}
        now = time.time_ns()
        for file, signature in loaded.items():
            self.files[file] = signature, now
        self.places = [*site.getsitepackages(), site.getusersitepackages()]  # where .pth files change sys.path
        self.search_paths()
        self.note_path(os.path.join(sys.prefix, "pyvenv.cfg"))

    def start(self):
        sys.addaudithook(self.hear)
        self.watch_searches()
        self.watch_questions()
        Environ.watch = self
        os.environ.__class__ = Environ
        self.on = True

    def stop(self):
        """For the host's depends.c."""
        self.on = False
        Environ.watch = None
        self.search_paths()
        self.missing.update(place for place in self.places if not sign(place))
        told = {"files": [[path, *signature[:4], when] for path, (signature, when) in self.files.items()],
                "missing": sorted(self.missing), "folders": sorted(self.folders), "variables": self.variables,
                "places": [[place, *sign(place)[1:4]] for place in self.places if sign(place)]}
        if len(self.files) + len(self.missing) > MOST:
            self.unsafe = "reads too many files"
        try:
            repr(told).encode()
        except UnicodeEncodeError:
            self.unsafe = "reads a file whose name is no UTF-8"
        return {"unsafe": self.unsafe} if self.unsafe else told

    # ---- what is noted

    def note_variable(self, name):
        if name in VARIABLES:
            value = os.environ._data.get(name.encode())
            self.variables[name] = value if value is None else os.fsdecode(value)

    def note_path(self, path):
        """It was read or looked at: what is there counts, or that nothing is."""
        path = os.path.join(self.temporary, path)
        if path == self.path or is_own(path) or is_under(path, self.temporary):
            return
        if path.startswith(("/proc/", "/sys/", "/dev/")):
            if path not in ("/dev/null", "/dev/urandom"):
                self.refuse(f"reads {path}")
            return
        signature = sign(path)
        if signature is None:
            self.missing.add(path)
        elif stat.S_ISDIR(signature[4]):
            self.folders.add(path)
        elif not stat.S_ISREG(signature[4]):
            self.refuse(f"reads {path}, which is no regular file")
        elif self.files.setdefault(path, (signature, time.time_ns()))[0] != signature:
            self.refuse(f"{path} changed while it was read")

    def refuse(self, why):
        if not self.unsafe:
            self.unsafe = why

    def search_paths(self):
        """Folders of sys.path that are not there: one that appears can shadow a module."""
        for path, finder in list(sys.path_importer_cache.items()):
            if finder is None and path and not is_own(path) and sign(path) is None:
                self.missing.add(path)

    def note_search(self, folder, name, spec):
        """The places where the module could have been and was not, in the order of the search."""
        if is_own(folder) or is_under(folder, self.temporary):
            return
        base = os.path.join(folder, name)
        places = []
        if os.path.isdir(base):
            places = [os.path.join(base, "__init__" + suffix) for suffix in SUFFIXES]
            self.folders.add(base)
        elif not spec or spec.origin != base:
            self.note_path(base)
        for place in places + [base + suffix for suffix in SUFFIXES]:
            if spec and place == spec.origin:
                self.note_path(place)
                return
            if sign(place):
                self.refuse(f"{place} appeared while it was looked for")
            self.missing.add(place)

    # ---- how it is heard of

    def hear(self, event, args):
        if event == "open":
            self.note(self.hear_open, *args)
        elif event in UNSAFE and self.on and not self.is_excused(event, sys._getframe(1)):
            self.refuse(UNSAFE[event])

    def note(self, action, *args):
        """Unless this thread is just noting something; what is not understood is not kept."""
        me = get_ident()
        if not self.on or self.busy == me:
            return
        if self.busy:
            self.refuse("reads files in several threads at once")
        self.busy = me
        try:
            action(*args)
        except Exception as error:
            self.refuse(f"does what could not be followed ({error})")
        self.busy = None

    def hear_open(self, path, mode, flags):
        if isinstance(path, int):
            return
        path = os.path.join(self.temporary, os.fsdecode(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            if not is_under(path, self.temporary) and path != "/dev/null":
                self.refuse(f"writes {path}")
        elif not (is_installed(path) and "/__pycache__/" in path):
            self.note_path(path)

    def is_excused(self, event, frame):
        """Done by the import system, by Triton itself, or by an installed package while it is imported."""
        if event in ("os.listdir", "os.scandir") and "importlib" in frame.f_code.co_filename:
            return True
        in_package = importing = False
        while frame:
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib"):
                importing = importing or in_package
            elif is_under(file, WORKER):
                return True
            elif is_under(file, TRITON) or is_installed(file):
                in_package = True
            elif not file.startswith("<frozen") and not is_own(file):
                return importing  # the user's own
            frame = frame.f_back
        return False

    def watch_searches(self):
        original, finder_class = bootstrap.FileFinder.find_spec, bootstrap.FileFinder

        def find_spec(finder, name, target=None):
            spec = original(finder, name, target)
            self.note(self.note_search, finder.path, name.rpartition(".")[2], spec)
            return spec

        finder_class.find_spec = find_spec
        cached = bootstrap.cache_from_source

        def cache_from_source(path, *args, **keywords):
            """Compiled files are matched by seconds and size only, so the user's own are not used."""
            if not is_own(path) and not is_installed(path):
                raise NotImplementedError
            return cached(path, *args, **keywords)

        bootstrap.cache_from_source = cache_from_source

    def watch_questions(self):
        """os.path asks by these; the import system has its own."""
        kinds = os.supports_fd, os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids
        for name in ("stat", "lstat", "access", "readlink"):
            question = getattr(os, name)
            listening = self.listen(question)
            setattr(os, name, listening)
            for kind in kinds:
                if question in kind:
                    kind.add(listening)

    def listen(self, question):

        def ask(path, *args, **keywords):
            if not isinstance(path, int):
                self.note(lambda: self.note_path(os.fsdecode(path)))
            return question(path, *args, **keywords)

        return ask

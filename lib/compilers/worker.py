"""The far end of triton.c: a process that has imported one Triton and forks a child for each request.

usage: worker.py SITE_FOLDER, with the control socket as file 3; SITE_FOLDER "" is the interpreter's own.

The protocol is described in peer.h. Children are forked ahead, so that a request waits for no fork. One that has
compiled IR, where no code of the user's ran, takes further requests for the same architecture: its memory is its own by
then, and warm. Not for another: Triton 3.4 chooses how it converts floats once in a process, by the first architecture.
MLIR and LLVM abort on much bad input: a child's death is told to the host, in the words of the child's log where they
explain it.
"""
import gc
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile

CONTROL, CHILDREN_AT_START, IDLE_MAX, USES_MAX = 3, 2, 8, 64
PYTHON = 1  # tr_stage
FOLDERS = "triton-runner-"  # what a server's temporary folder is called, with its process id behind
HEADER_LIMIT, BLOB_LIMIT = 1 << 26, 1 << 31
POLLRDHUP, PR_SET_PDEATHSIG = 0x2000, 1
MEMORY_SHARE = 0.75  # of the machine's memory, which one request may use


def send_frame(connection, header, blob=b""):
    text = json.dumps(header).encode()
    connection.sendall(struct.pack("<IQ", len(text), len(blob)) + text)
    if blob:  # else the host may have all it waits for, and be gone
        connection.sendall(blob)


def read_exactly(connection, size):
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            os._exit(0)  # the host gave the request up
        parts += part
    return bytes(parts)


def read_frame(connection):
    length, size = struct.unpack("<IQ", read_exactly(connection, 12))
    if length > HEADER_LIMIT or size > BLOB_LIMIT:
        os._exit(1)
    return json.loads(read_exactly(connection, length)), read_exactly(connection, size)


def receive_files(channel):
    """Architecture's number, connection and log of a request; None at the end of the socket."""
    space = socket.CMSG_SPACE(2 * 4)
    data, rights, _, _ = channel.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
    if not data or not rights:
        return None
    return data[0], *struct.unpack("2i", rights[0][2])


def send_files(channel, arch, files):
    channel.sendmsg([bytes([arch])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", *files))])


class Child:
    """A forked process: idle until its channel brings a request, then busy until it is ready or dead."""

    def __init__(self, pid, channel, folder):
        self.pid, self.channel, self.folder = pid, channel, folder
        self.connection = self.log = None
        self.arch = None  # it has compiled nothing

    def kill(self):
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


class Server:

    def __init__(self, control, compiler, libc):
        self.control, self.compiler, self.libc = control, compiler, libc
        self.pid = os.getpid()
        remove_left_folders()
        self.folder = tempfile.mkdtemp(prefix=f"{FOLDERS}{self.pid}-")
        self.idle, self.busy, self.channels, self.made = [], {}, {}, 0
        self.wakeup, wakeup_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        self.poller = select.poll()
        self.poller.register(control, select.POLLIN)
        self.poller.register(self.wakeup, select.POLLIN)
        self.host = self.open_host()

    def open_host(self):
        """The host made the control socket. It closes when the host ends, unless a forked child of it lives on."""
        pid, _, _ = struct.unpack("3i", self.control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            host = os.pidfd_open(pid)
        except (AttributeError, OSError):
            return None
        self.poller.register(host, select.POLLIN)
        return host

    def fork(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.made += 1
        folder = os.path.join(self.folder, str(self.made))
        pid = os.fork()
        if not pid:
            try:
                self.leave_server_behind(ours)
                run_child(theirs, folder, self)
            finally:
                os._exit(1)
        theirs.close()
        child = Child(pid, ours, folder)
        self.channels[ours.fileno()] = child
        self.poller.register(ours, select.POLLIN)
        return child

    def leave_server_behind(self, ours):
        os.setpgid(0, 0)
        self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:
            os._exit(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for child in self.channels.values():
            child.channel.close()
            if child.connection:
                child.connection.close()
                os.close(child.log)
        for file in (self.wakeup, self.host, CONTROL):
            if file is not None:
                os.close(file)
        ours.close()

    def take(self, arch):
        """A child that has compiled for no other architecture."""
        for child in reversed(self.idle):
            if child.arch in (None, arch):
                self.idle.remove(child)
                return child
        return self.fork()

    def start(self, arch, connection, log):
        while True:
            child = self.take(arch)
            child.arch = arch
            try:
                send_files(child.channel, arch, (connection, log))
                break
            except OSError:  # it died while it was idle
                self.bury(child)
        child.connection, child.log = socket.socket(fileno=connection), log
        self.busy[connection] = child
        self.poller.register(connection, POLLRDHUP)

    def bury(self, child):
        child.kill()
        try:
            os.waitpid(child.pid, 0)
        except ChildProcessError:
            pass
        self.forget(child)

    def forget(self, child):
        self.poller.unregister(child.channel)
        del self.channels[child.channel.fileno()]
        child.channel.close()
        shutil.rmtree(child.folder, ignore_errors=True)

    def let_go(self, child):
        """Of the request's files."""
        self.poller.unregister(child.connection)
        del self.busy[child.connection.fileno()]
        child.connection.close()
        os.close(child.log)
        child.connection = child.log = None

    def hear(self, child):
        """A child says that it is ready for another request; the end of its channel is reap's matter."""
        try:
            ready = child.channel.recv(1, socket.MSG_DONTWAIT)
        except OSError:
            ready = b""
        if not ready:
            self.poller.modify(child.channel, 0)
        elif child.connection:
            self.let_go(child)
            self.idle.append(child)
        if len(self.idle) > IDLE_MAX:
            self.bury(self.idle.pop(0))

    def reap(self):
        for child in list(self.channels.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                child.kill()
            elif pid and child.connection:
                self.finish(child, status)
            elif pid:
                self.idle.remove(child)
                self.forget(child)

    def finish(self, child, status):
        if status:
            try:
                child.connection.settimeout(0.1)
                send_frame(child.connection, self.compiler.explain_death(status, read_log(child.log)))
            except OSError:  # the host is not interested any more
                pass
        self.let_go(child)
        self.forget(child)

    def leave(self):
        for child in self.channels.values():
            child.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(0)

    def serve(self):
        self.idle += [self.fork() for _ in range(CHILDREN_AT_START)]
        while True:
            events = [file for file, _ in self.poller.poll()]
            for file in events:  # first: a child says so before the host can hang up
                if file in self.channels:
                    self.hear(self.channels[file])
            for file in events:  # then who has hung up, while no other connection can have its number
                if file in self.busy:
                    self.busy[file].kill()
                    self.poller.modify(file, 0)
            for file in events:
                if file == self.wakeup:
                    os.read(self.wakeup, 4096)
                    self.reap()
                elif file == self.host:
                    self.leave()
                elif file == CONTROL:
                    received = receive_files(self.control)
                    if not received:
                        self.leave()
                    self.start(*received)
            if not self.idle:
                self.idle.append(self.fork())


def remove_left_folders():
    """Those of servers that were killed."""
    for name in os.listdir(tempfile.gettempdir()):
        pid = name[len(FOLDERS):].partition("-")[0]
        if name.startswith(FOLDERS) and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


def read_log(log, limit=1 << 20):
    size = os.fstat(log).st_size
    return os.pread(log, min(size, limit), max(0, size - limit)).decode(errors="replace")


def limit_resources(seconds):
    """Should nobody be left to stop a child: its time, and memory before the machine has none."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    time = int(used.ru_utime + used.ru_stime + seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (time, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    resource.setrlimit(resource.RLIMIT_AS, (int(memory * MEMORY_SHARE),) * 2)


def run_child(channel, folder, server):
    os.mkdir(folder)
    tempfile.tempdir = folder
    os.chdir(folder)
    for _ in range(USES_MAX):
        received = receive_files(channel)
        if not received or not run_request(channel, *received[1:], server):
            break
    os._exit(0)


def run_request(channel, connection, log, server):
    """Whether this process can take another."""
    connection = socket.socket(fileno=connection)
    os.dup2(log, 1)
    os.dup2(log, 2)
    send_frame(connection, {"accepted": os.getpid()})
    request, source = read_frame(connection)
    limit_resources(request["seconds"])
    os.environ.update(setting.split("=", 1) for setting in request["environment"])

    def send_stage(stage, seconds, data):
        send_frame(connection, {"stage": stage, "seconds": seconds}, data)

    header = server.compiler.answer(request, source, send_stage, lambda: read_log(log))
    sys.stdout.flush()
    sys.stderr.flush()
    server.libc.fflush(None)
    again = "done" in header and request["from"] != PYTHON and not request["environment"]
    if again:
        for name in os.listdir("."):
            os.remove(name)
        channel.send(b"\0")
    try:
        send_frame(connection, header)
    except OSError:  # the host gave the request up; the next one, which may be here already, is another's
        pass
    connection.close()
    os.close(log)
    return again


def main():
    control = socket.socket(fileno=CONTROL)
    os.set_inheritable(CONTROL, False)
    if sys.argv[1]:
        sys.path.insert(0, sys.argv[1])
    import ctypes
    from worker_compiler import Compiler
    compiler = Compiler()
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    gc.collect()
    gc.freeze()
    Server(control, compiler, ctypes.CDLL(None)).serve()


if __name__ == "__main__":
    main()

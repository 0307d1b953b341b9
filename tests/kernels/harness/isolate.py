"""Runs cases in a forked child, so that a driver that crashes, hangs or is left in error costs one case only"""
import ctypes
import multiprocessing
import os
import sys
import time

from . import compare, drive

TIME_LIMIT = 60
LOOP_LIMIT = 1000000  # no right kernel here comes near


def captured(function):
    """(what it returns, what was printed on the process's stdout meanwhile): device-side printf arrives there"""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    kept, sink = os.dup(1), os.memfd_create("stdout")
    os.dup2(sink, 1)
    try:
        result = function()
        libc.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    size = os.lseek(sink, 0, os.SEEK_CUR)
    text = os.pread(sink, size, 0).decode(errors="replace")
    os.close(sink)
    return result, text


def one(driver, case, ptx, metadata):
    """A dict that says how the case went"""
    started = time.monotonic()
    if hasattr(case, "judge"):
        return planted(driver, case, ptx, metadata)
    try:
        (results, arguments), printed = captured(lambda: drive.run_case(driver, case, ptx, metadata))
    except drive.DriverError as error:
        return {"status": "failed", "why": str(error), "broken": True}
    seconds = time.monotonic() - started
    problems, worst, repeating = compare.against_reference(case, results, arguments)
    problems += case.wrong_prints(printed)
    return {"status": "failed" if problems else "passed", "why": "; ".join(problems), "worst": worst,
            "seconds": seconds, "results": repeating, "printed": printed}


def planted(driver, case, ptx, metadata):
    """How a case went that is wrong on purpose: the process lives, the context is in error, the report is right"""
    error = None
    try:
        captured(lambda: drive.run_case(driver, case, ptx, metadata))
    except drive.DriverError as caught:
        error = caught
    problems = case.judge(error)
    if error and case.kind and not problems:
        try:
            driver.call("cuCtxSynchronize")
            problems.append("the context is not left in error")
        except drive.DriverError as again:
            problems += [] if again.code == error.code else ["the next call says %s" % again.name]
    return {"status": "failed" if problems else "passed", "why": "; ".join(problems), "broken": bool(error)}


def serve(connection, library, arch, checks, isa, cases):
    os.environ["TRITON_RUNNER_CPU_ARCH"] = arch
    os.environ["TRITON_RUNNER_CPU_LOOP_LIMIT"] = str(LOOP_LIMIT)
    if checks:
        os.environ["TRITON_RUNNER_CPU_CHECKS"] = checks
    if isa:
        os.environ["TRITON_RUNNER_CPU_ISA"] = isa
    try:
        driver = drive.Driver(library)
    except (OSError, drive.DriverError) as error:
        connection.send({"status": "failed", "why": "%s: %s" % (library, error), "unusable": True})
        return
    connection.send({"status": "ready"})
    while True:
        request = connection.recv()
        if request is None:
            return
        index, ptx, metadata = request
        try:
            reply = one(driver, cases[index], ptx, metadata)
        except Exception as error:  # a wrong case must not pass for a wrong driver
            reply = {"status": "failed", "why": "in the harness: %s: %s" % (type(error).__name__, error)}
        connection.send(reply)
        if reply.get("broken"):
            return


class Isolated:
    """The child, for one library and arch; started again after it was lost"""

    def __init__(self, library, arch, cases, isa=None):
        self.library, self.arch, self.cases, self.child, self.checks = library, arch, cases, None, None
        self.isa = isa

    def start(self):
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.child = context.Process(target=serve, args=(theirs, self.library, self.arch, self.checks, self.isa, self.cases),
                                     daemon=True)
        self.child.start()
        theirs.close()
        return self.receive()

    def receive(self):
        if not self.connection.poll(TIME_LIMIT):
            self.child.kill()
            self.stop()
            return {"status": "failed", "why": "not done after %d s" % TIME_LIMIT}
        try:
            reply = self.connection.recv()
        except EOFError:
            self.child.join()
            code = self.child.exitcode
            self.stop()
            return {"status": "failed", "why": "the driver crashed the process: " + (
                "signal %d" % -code if code < 0 else "exit status %d" % code)}
        if reply.get("broken") or reply.get("unusable"):
            self.stop()
        return reply

    def run(self, index, ptx, metadata):
        if self.cases[index].checks != self.checks:
            self.stop()
            self.checks = self.cases[index].checks
        if self.child is None:
            reply = self.start()
            if reply["status"] != "ready":
                return reply
        self.connection.send((index, ptx, metadata))
        return self.receive()

    def stop(self):
        if self.child is not None:
            try:
                self.connection.send(None)
            except OSError:
                pass
            self.connection.close()
            self.child.join()
            self.child = None

"""Why a compile failed, in one line that says where: what Triton, MLIR, LLVM and ptxas print, put in order."""
import re

# tr_status
TR_E_INVALID_ARGUMENT, TR_E_OUT_OF_MEMORY, TR_E_UNSUPPORTED = 1, 2, 3
TR_E_PARSE, TR_E_COMPILE, TR_E_COMPILER_CRASHED, TR_E_SIGNATURE = 10, 11, 13, 20


class Failure(Exception):
    """`certain` is one that explains by itself why a process died."""

    def __init__(self, status, message, certain=True):
        super().__init__(message)
        self.status, self.message, self.certain = status, message, certain

    def header(self, stage):
        return {"failed": self.status, "message": self.message, "stage": stage}


# What the log of a failed compile is searched for, in this order: pattern, status, message, does it explain a death.
OWN = r'"?[0-9a-f]{16}\.tt\w*ir"?'  # the name under which IR is parsed
PATTERNS = (
    (rf"^(?:loc\()?{OWN}:(?P<line>\d+):(?P<column>\d+)\)?: error: (?P<text>.*)", TR_E_COMPILE,
     "{line}:{column}: {text}", False),
    (r'^(?:loc\()?"?(?P<file>[^\s"()]+)"?:(?P<line>\d+):(?P<column>\d+)\)?: error: (?P<text>.*)', TR_E_COMPILE,
     "{file}:{line}:{column}: {text}", False),
    (r"failed to parse IR: (?P<text>.*?)lineno: (?P<line>\d+)", TR_E_PARSE, "line {line}: {text}", True),
    (r"^ptxas\S* \S+, line (?P<line>\d+); (?:error|fatal)\s*: (?P<text>.*)", TR_E_COMPILE, "line {line}: {text}", False),
    (r"^ptxas\S* (?:error|fatal)\s*: (?P<text>.*)", TR_E_COMPILE, "{text}", False),
    (r"^LLVM ERROR: (?P<text>.*)", TR_E_COMPILE, "{text}", False),
    (r"^(?:<unknown>:0: )?error: (?P<text>.*)", TR_E_COMPILE, "{text}", False),
    (r"[Aa]ssertion (?P<text>.*) failed", TR_E_COMPILE, "assertion failed: {text}", False),
)


def explain_log(log):
    for pattern, status, message, certain in PATTERNS:
        found = re.search(pattern, log, re.MULTILINE)
        if found:
            return Failure(status, message.format(**found.groupdict()).strip(), certain)
    return None

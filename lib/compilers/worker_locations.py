"""Gives the arguments of loops back the locations that MLIR's text leaves out.

A printed scf.for does not say where its arguments come from, so a parser takes their place in the text itself. Triton's
own run has the loop's location for the induction variable and that of the first value for a loop-carried one, from 3.5
on under the argument's own name. Without them debug information, and with it every later stage, would tell of the text
instead of the kernel's source. The generic form of the operation has room for locations, so loops are rewritten to it,
line by line. Where canonicalisation took the first value's own location away, the text does not hold it any more.
"""
import re

ALIAS = re.compile(r"^(#loc\d*) = loc\((.*)\)$")
TRAILING = re.compile(r" loc\((#loc\d*|unknown)\)$")
VALUE = re.compile(r"^\s*(%[\w$.-]+)(?::\d+)? = ")
PARAMETER = re.compile(r"(%[\w$.-]+): [^%]*? loc\(((?:[^()]|\([^()]*\))*)\)")
LOOP = re.compile(r"^(?P<results>\s*(?:%[\w$.-]+(?::\d+)? = )?)scf\.for (?P<variable>%\S+) = (?P<bounds>%\S+ to %\S+ step "
                  r"%\S+) (?:iter_args\((?P<carried>.*?)\) -> \((?P<types>.*)\) )?(?: ?: (?P<type>\S+) )?\{$")
END = re.compile(r"^\s*\}(?P<attributes> \{.*\})? loc\((?P<location>.*)\)$")
PLACE = r'"[^"]*":\d+:\d+'
NAMED = re.compile(rf'^"[^"]*"\(({PLACE}|unknown)\)$')
UNNAMED = re.compile(r"%(arg\d+|\d+)$")


def split_types(text):
    types, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "<({[") - (letter in ">)}]" and text[at - 1] != "-")
        if letter == "," and not depth:
            types.append(text[start:at].strip())
            start = at + 1
    return types + [text[start:].strip()]


class Locations:

    def __init__(self, lines, names_values):
        self.names_values = names_values  # from 3.5 on, a location holds the name of its value
        self.aliases = dict(found.groups() for found in map(ALIAS.match, lines) if found)
        self.values = {}

    def spell(self, location):
        """Without aliases: those are defined at the end of the text, too late for an argument."""
        while True:
            spelled = re.sub(r"#loc\d*", lambda alias: self.aliases.get(alias[0], "unknown"), location)
            if spelled == location:
                return spelled
            location = spelled

    def argument(self, name, location):
        """Where `name` comes from, when what it begins with comes from `location`."""
        location = self.spell(location)
        if self.names_values and not UNNAMED.match(name):
            named = NAMED.match(location)
            own = re.sub(r"_\d+$", "", name[1:])
            location = f'"{own}"({named[1] if named else location})'
        return location

    def rewrite(self, loop, end):
        """The first and the last line of a loop in generic form."""
        index_type = loop["type"] or "index"
        lower, _, upper, _, step = loop["bounds"].split(" ")
        pairs = [pair.split(" = ") for pair in loop["carried"].split(", ")] if loop["carried"] else []
        types = split_types(loop["types"]) if loop["types"] else []
        arguments = [f"{loop['variable']}: {index_type} loc({self.argument(loop['variable'], end['location'])})"]
        for (name, first), type_name in zip(pairs, types):
            location = self.argument(name, self.values.get(first.split("#")[0], "unknown"))
            self.values[name] = location
            arguments.append(f"{name}: {type_name} loc({location})")
        operands = ", ".join([lower, upper, step] + [first for _, first in pairs])
        head = f"{loop['results']}\"scf.for\"({operands}) ({{ ^bb0({', '.join(arguments)}):"
        tail = "" if pairs else f"scf.yield loc({end['location']}) "
        tail += f"}}){end['attributes'] or ''} : ({', '.join([index_type] * 3 + types)}) -> ({', '.join(types)})"
        return head, f"{tail} loc({end['location']})"


def find_ends(lines):
    """For the line that opens a region, the line that ends its operation."""
    ends, opened = {}, []
    for at, line in enumerate(lines):
        line = line.strip()
        if line.startswith("}") and opened:
            start = opened.pop()
            if line.endswith("{"):
                opened.append(start)
            else:
                ends[start] = at
        elif line.endswith(("{", "({")):
            opened.append(at)
    return ends


def restore(text, names_values):
    lines = text.split("\n")
    if " scf.for " not in text:
        return text
    ends, locations = find_ends(lines), Locations(lines, names_values)
    for at, line in enumerate(lines):
        if "tt.func" in line:
            locations.values.update(PARAMETER.findall(line))
        loop, value = LOOP.match(line), VALUE.match(line)
        end = END.match(lines[ends[at]]) if at in ends else None
        trailing = TRAILING.search(lines[ends[at]] if at in ends else line)
        if value and trailing:
            locations.values[value[1]] = trailing[1]
        if loop and end:
            lines[at], lines[ends[at]] = locations.rewrite(loop, end)
    return "\n".join(lines)

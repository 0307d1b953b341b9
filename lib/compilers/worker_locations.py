"""Gives the arguments of loops back the locations that MLIR's text leaves out.

A printed scf.for does not say where its arguments come from, so a parser takes their place in the text itself. Triton's
own run has the loop's location for the induction variable and that of the first value for a loop-carried one, from 3.5
on under the argument's own name. Without them debug information, and with it every later stage, would tell of the text
instead of the kernel's source. The generic form of the operation has room for locations, so loops are rewritten to it,
line by line. Where canonicalisation took the first value's own location away, the text does not hold it any more: then
the worker that makes the text tells the locations beside it, for the record.
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

    def arguments(self, loop, end):
        """Of a loop, as far as the text before it tells."""
        found = [self.argument(loop["variable"], end["location"])]
        for name, first in pairs_of(loop):
            self.values[name] = self.argument(name, self.values.get(first.split("#")[0], "unknown"))
            found.append(self.values[name])
        return found


def pairs_of(loop):
    """The loop-carried arguments and what each begins with."""
    return [pair.split(" = ") for pair in loop["carried"].split(", ")] if loop["carried"] else []


def rewrite(loop, end, locations):
    """The first and the last line of a loop in generic form."""
    index_type = loop["type"] or "index"
    lower, _, upper, _, step = loop["bounds"].split(" ")
    pairs = pairs_of(loop)
    types = split_types(loop["types"]) if loop["types"] else []
    named = zip([loop["variable"]] + [name for name, _ in pairs], [index_type] + types, locations)
    arguments = ", ".join(f"{name}: {type_name} loc({location})" for name, type_name, location in named)
    operands = ", ".join([lower, upper, step] + [first for _, first in pairs])
    head = f"{loop['results']}\"scf.for\"({operands}) ({{ ^bb0({arguments}):"
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


def find_loops(text, names_values):
    """For each loop in the text its first and last line, what they say, and where its arguments come from."""
    lines, loops = text.split("\n"), []
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
            loops.append((at, ends[at], loop, end, locations.arguments(loop, end)))
    return lines, loops


def restore(text, names_values, told=None):
    """The text with its loops in generic form; `told` is what `missing` said of it, of use while the loops are the same."""
    if " scf.for " not in text:
        return text
    lines, loops = find_loops(text, names_values)
    known = [arguments for *_, arguments in loops]
    if told and list(map(len, told)) == list(map(len, known)):
        known = told
    for (first, last, loop, end, _), arguments in zip(loops, known):
        lines[first], lines[last] = rewrite(loop, end, arguments)
    return "\n".join(lines)


def missing(module, text, builder, names_values):
    """The locations of the arguments of each loop in a module, when they are not what its text tells; else None."""
    if " scf.for " not in text:
        return None
    actual = spell(loop_arguments(module), builder)
    return actual if actual != [arguments for *_, arguments in find_loops(text, names_values)[1]] else None


def loop_arguments(module):
    """The arguments of each loop's block, in the order of the text: an outer loop before those in it."""
    blocks, inner = {}, {None: []}

    def note(region):
        key = region.id() if region else None
        if key not in inner:
            inner[key] = []
            inner[note(region.get_parent_region())].append(key)
        return key

    def visit(operation):
        if operation.get_name() == "scf.yield":
            block = operation.get_block()
            blocks[note(block.get_parent())] = [block.arg(at) for at in range(block.get_num_arguments())]

    def walk(key):
        if blocks.get(key):
            yield blocks[key]
        for region in inner[key]:
            yield from walk(region)

    module.walk(visit)
    return list(walk(None))


def spell(loops, builder):
    """Python sees no location's text, so constants get them, and are printed."""
    scratch = builder.create_module()
    function = builder.get_or_insert_function(scratch, "f", builder.get_function_ty([], []), "public", False)
    scratch.push_back(function)
    builder.set_insertion_point_to_start(function.add_entry_block())
    for argument in (argument for loop in loops for argument in loop):
        builder.set_loc(argument.get_loc())
        builder.get_int32(0)
    lines = str(scratch).split("\n")
    locations = Locations(lines, True)
    spelled = iter([locations.spell(TRAILING.search(line)[1]) for line in lines if "arith.constant" in line])
    return [[next(spelled) for _ in loop] for loop in loops]

/* Variables with their initialisers, registers, and the scopes their names live in. */
#include "ptx/parser.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t bytes;
} types[] = {
    {".pred", 0},   {".b8", 1},   {".u8", 1},  {".s8", 1},  {".b16", 2}, {".u16", 2},   {".s16", 2},
    {".f16", 2},    {".bf16", 2}, {".b32", 4}, {".u32", 4}, {".s32", 4}, {".f32", 4},   {".f16x2", 4},
    {".bf16x2", 4}, {".b64", 8},  {".u64", 8}, {".s64", 8}, {".f64", 8}, {".b128", 16},
};

uint32_t trcpu_type_bytes(trcpu_text type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (trcpu_text_is(type, types[i].name)) return types[i].bytes;
    return ~0u;
}

bool trcpu_parser_declare(trcpu_parser *parser, trcpu_name name) {
    if (parser->name_count == parser->name_room) {
        uint32_t room = parser->name_room ? 2 * parser->name_room : 64;
        trcpu_name *names = realloc(parser->names, room * sizeof *names);
        if (!names) {
            trcpu_parser_exhausted(parser);
            return false;
        }
        parser->names = names;
        parser->name_room = room;
    }
    parser->names[parser->name_count++] = name;
    return true;
}

/* "%r17" is the 17th of "%r<33>", unless there is a register of just that name. */
trcpu_name *trcpu_parser_lookup(trcpu_parser *parser, trcpu_text text, uint32_t *reg) {
    uint32_t stem = text.size;
    while (stem > 0 && text.at[stem - 1] >= '0' && text.at[stem - 1] <= '9') stem--;
    uint32_t number = 0;
    for (uint32_t i = stem; i < text.size && number < 100000000; i++)
        number = 10 * number + (uint32_t)(text.at[i] - '0');
    for (uint32_t i = parser->name_count; i-- > 0;) {
        trcpu_name *name = &parser->names[i];
        if (!name->count && trcpu_text_equal(name->name, text)) {
            *reg = name->first;
            return name;
        }
        if (name->count && stem < text.size && number < name->count && name->name.size == stem &&
            memcmp(name->name.at, text.at, stem) == 0) {
            *reg = name->first + number;
            return name;
        }
    }
    return NULL;
}

static uint32_t add_registers(trcpu_parser *parser, uint32_t bytes, uint64_t count) {
    trcpu_ptx_function *function = parser->function;
    uint32_t first = function->register_count;
    if (count > 1000000 || first + count > 4000000) {
        trcpu_parser_fail(parser, parser->line, "too many registers");
        return first;
    }
    for (uint64_t i = 0; i < count; i++) {
        void *grown = trcpu_arena_push(parser->ptx->arena, function->registers, &function->register_count,
                                       sizeof(trcpu_register));
        if (!grown) {
            trcpu_parser_exhausted(parser);
            return first;
        }
        function->registers = grown;
        function->registers[function->register_count - 1].bytes = (uint8_t)bytes;
    }
    return first;
}

/* After ".reg": a type, then names or ranges up to the semicolon. */
void trcpu_parser_registers(trcpu_parser *parser) {
    trcpu_text type = trcpu_parser_word(parser);
    uint64_t elements = 1;
    if (trcpu_text_is(type, ".v2") || trcpu_text_is(type, ".v4")) {
        trcpu_parser_fail(parser, parser->line, "registers of vector type are not supported");
        return;
    }
    uint32_t bytes = trcpu_type_bytes(type);
    if (bytes == ~0u || bytes > 8) {
        trcpu_parser_fail(parser, parser->line, "registers of type '%.*s' are not supported", (int)type.size,
                          type.at);
        return;
    }
    do {
        trcpu_name name = {.name = trcpu_parser_word(parser)};
        uint64_t count = 0;
        if (!name.name.size) trcpu_parser_fail(parser, parser->line, "the name of a register expected");
        if (trcpu_parser_accept(parser, '<')) {
            trcpu_parser_unsigned(parser, &count);
            trcpu_parser_expect(parser, '>');
            if (!count) continue;
        }
        name.count = (uint32_t)count;
        name.first = add_registers(parser, bytes, count ? count : elements);
        if (parser->failed || !trcpu_parser_declare(parser, name)) return;
    } while (trcpu_parser_accept(parser, ','));
    trcpu_parser_expect(parser, ';');
}

typedef struct initialiser {
    uint8_t *bytes;
    uint64_t at, room;
    trcpu_variable *variable;
} initialiser;

static bool reserve(trcpu_parser *parser, initialiser *init, uint32_t bytes) {
    if (init->at + bytes <= init->room) return true;
    if (init->variable->size) {
        trcpu_parser_fail(parser, parser->line, "more initial values than '%.*s' has elements",
                          (int)init->variable->name.size, init->variable->name.at);
        return false;
    }
    uint64_t room = init->room ? 2 * init->room : 64;
    uint8_t *larger = trcpu_arena_take(parser->ptx->arena, room);
    if (!larger) {
        trcpu_parser_exhausted(parser);
        return false;
    }
    if (init->at) memcpy(larger, init->bytes, init->at);
    init->bytes = larger;
    init->room = room;
    return true;
}

/* name, name+4, generic(name), generic(name)+4 */
static void initialise_address(trcpu_parser *parser, initialiser *init) {
    trcpu_variable *variable = init->variable;
    trcpu_relocation relocation = {.offset = (uint32_t)init->at, .size = variable->element};
    bool parenthesised = trcpu_parser_word_is(parser, "generic") && trcpu_parser_expect(parser, '(');
    relocation.generic = parenthesised;
    trcpu_text name = trcpu_parser_word(parser);
    uint32_t reg;
    trcpu_name *found = trcpu_parser_lookup(parser, name, &reg);
    relocation.variable = found ? found->variable : NULL;
    relocation.function = name;
    if (parenthesised) trcpu_parser_expect(parser, ')');
    trcpu_operand addend = {0};
    bool minus = trcpu_parser_peek(parser, '-');
    if ((minus || trcpu_parser_accept(parser, '+')) && trcpu_parser_number(parser, &addend))
        relocation.addend = addend.value;
    if (!name.size) trcpu_parser_fail(parser, parser->line, "an initial value expected");
    void *grown = trcpu_arena_push(parser->ptx->arena, variable->relocations, &variable->relocation_count,
                                   sizeof relocation);
    if (!grown || parser->failed) {
        trcpu_parser_exhausted(parser);
        return;
    }
    variable->relocations = grown;
    variable->relocations[variable->relocation_count - 1] = relocation;
}

static void initialise(trcpu_parser *parser, initialiser *init, int depth) {
    if (trcpu_parser_accept(parser, '{')) {
        if (depth > 8) trcpu_parser_fail(parser, parser->line, "initial values nested too deeply");
        while (!parser->failed && !trcpu_parser_peek(parser, '}')) {
            initialise(parser, init, depth + 1);
            if (!trcpu_parser_accept(parser, ',')) break;
        }
        trcpu_parser_expect(parser, '}');
        return;
    }
    uint32_t element = init->variable->element;
    trcpu_operand value = {0};
    if (!reserve(parser, init, element)) return;
    if (trcpu_parser_number(parser, &value)) {
        if (value.kind == TRCPU_OPERAND_DOUBLE && element == 4) {
            double wide;
            memcpy(&wide, &value.value, sizeof wide);
            float narrow = (float)wide;
            memcpy(&value.value, &narrow, sizeof narrow);
        }
        memcpy(init->bytes + init->at, &value.value, element < 8 ? element : 8);
    } else {
        initialise_address(parser, init);
    }
    init->at += element;
}

static void dimensions(trcpu_parser *parser, trcpu_variable *variable) {
    uint64_t count = 1;
    bool open = false;
    while (trcpu_parser_accept(parser, '[')) {
        uint64_t extent = 0;
        if (!trcpu_parser_peek(parser, ']'))
            trcpu_parser_unsigned(parser, &extent);
        else
            open = true;
        trcpu_parser_expect(parser, ']');
        if (!open && extent && count > UINT32_MAX / extent)
            trcpu_parser_fail(parser, parser->line, "an array larger than 4 GiB");
        count *= open ? 1 : extent;
    }
    variable->size = open ? 0 : count * variable->element;
    if (variable->size > UINT32_MAX) trcpu_parser_fail(parser, parser->line, "an array larger than 4 GiB");
}

/* After the state space: .align N, .v2, .ptr …, a type, a name, [n] and an initialiser. The caller takes what ends
   it: ';', ',' or ')'. */
trcpu_variable *trcpu_parser_variable(trcpu_parser *parser, trcpu_space space, bool is_extern) {
    trcpu_variable *variable = trcpu_arena_take(parser->ptx->arena, sizeof *variable);
    if (!variable) {
        trcpu_parser_exhausted(parser);
        return NULL;
    }
    variable->space = space;
    variable->is_extern = is_extern;
    uint32_t lanes = 1, pointer_space = 0;
    while (trcpu_parser_peek(parser, '.')) {
        trcpu_text word = trcpu_parser_word(parser);
        uint64_t number;
        uint32_t bytes = trcpu_type_bytes(word);
        if (trcpu_text_is(word, ".align")) {
            if (!trcpu_parser_unsigned(parser, &number)) return NULL;
            if (!number || number & (number - 1) || number > 4096)
                trcpu_parser_fail(parser, parser->line, "an alignment must be a power of two");
            if (!pointer_space) variable->alignment = (uint32_t)number; /* of .ptr: of what it points to */
        } else if (trcpu_text_is(word, ".ptr")) {
            pointer_space = 1;
        } else if (trcpu_text_is(word, ".v2") || trcpu_text_is(word, ".v4")) {
            lanes = (uint32_t)(word.at[2] - '0');
        } else if (bytes != ~0u && bytes) {
            variable->element = bytes;
        } else if (!pointer_space) {
            trcpu_parser_fail(parser, parser->line, "'%.*s' is not known here", (int)word.size, word.at);
            return NULL;
        }
    }
    variable->name = trcpu_parser_word(parser);
    if (!variable->element || !variable->name.size) {
        trcpu_parser_fail(parser, parser->line, "a type and a name expected");
        return NULL;
    }
    if (!variable->alignment) variable->alignment = variable->element * lanes;
    uint32_t element = variable->element;
    variable->element = element * lanes;
    dimensions(parser, variable);
    variable->element = element;
    if (trcpu_parser_accept(parser, '=')) {
        initialiser init = {.variable = variable, .room = variable->size};
        if (init.room && !(init.bytes = trcpu_arena_take(parser->ptx->arena, init.room)))
            trcpu_parser_exhausted(parser);
        initialise(parser, &init, 0);
        variable->bytes = init.bytes;
        if (!variable->size) variable->size = init.at;
    }
    if (parser->failed) return NULL;
    return trcpu_parser_declare(parser, (trcpu_name){.name = variable->name, .variable = variable}) ? variable
                                                                                                    : NULL;
}

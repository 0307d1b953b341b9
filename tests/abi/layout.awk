# From the public header: a line for each struct, member and enumerator. Comments are gone before (cc -E -P).
function flush_members(text,    parts, count, i, words, n, name) {
    count = split(text, parts, ";")
    for (i = 1; i <= count; i++) {
        if (parts[i] ~ /union/) { print "FIELD(" struct ", value)"; continue }
        if (parts[i] ~ /\(\*/) { name = parts[i]; sub(/.*\(\*/, "", name); sub(/\).*/, "", name); print "FIELD(" struct ", " name ")"; continue }
        n = split(parts[i], words, ",")
        for (j = 1; j <= n; j++) {
            name = words[j]
            gsub(/\[[^]]*\]/, "", name); gsub(/[ \t]+$/, "", name); sub(/.*[ *]/, "", name)
            if (name != "" && name != "}") print "FIELD(" struct ", " name ")"
        }
    }
}
{ all = all " " $0 }
END {
    while (match(all, /typedef struct tr_[a-z_]+ \{/)) {
        struct = substr(all, RSTART + 15, RLENGTH - 17)
        rest = substr(all, RSTART + RLENGTH)
        # Up to the brace that closes the struct; the one union inside has its own pair.
        depth = 1
        for (at = 1; depth; at++) { c = substr(rest, at, 1); if (c == "{") depth++; if (c == "}") depth-- }
        body = substr(rest, 1, at - 2)
        gsub(/union \{[^}]*\} value/, "union value", body)
        print "SIZE(" struct ")"
        flush_members(body)
        all = substr(all, 1, RSTART - 1) substr(rest, at)
    }
    while (match(all, /enum \{[^}]*\}/)) {
        body = substr(all, RSTART + 6, RLENGTH - 7)
        count = split(body, parts, ",")
        for (i = 1; i <= count; i++) {
            name = parts[i]; sub(/=.*/, "", name); gsub(/[ \t]/, "", name)
            if (name != "") print "VALUE(" name ")"
        }
        all = substr(all, RSTART + RLENGTH)
    }
}

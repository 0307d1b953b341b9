/* Prints every size, offset and value of the public header that a caller's compiled code holds. The list is the
   header's own: layout.awk writes this file's body from it, so nothing can be forgotten. */
#include <stdio.h>
#include <triton_runner.h>

#define SIZE(type)          printf("sizeof(%s) %zu\n", #type, sizeof(type));
#define FIELD(type, member) printf("%s.%s %zu\n", #type, #member, offsetof(type, member));
#define VALUE(name)         printf("%s %lld\n", #name, (long long)name);

int main(void) {
#include "layout.inc"
    return 0;
}

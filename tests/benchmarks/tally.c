/* Counts what this thread asks of Python's allocators, and on whose account: a stage for each code object, kept as a stack.

   Needs no header of Python: a compiler and the symbols of the interpreter are enough. */

#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef struct {
    void *ctx;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} Allocator;

enum { MEM = 1, OBJ = 2, CALL = 0, RETURN = 3, C_CALL = 4, STAGES = 16, SLOTS = 1 << 14, DEPTH = 1 << 10, INHERIT = -1 };

extern void PyMem_GetAllocator(int domain, Allocator *allocator);
extern void PyMem_SetAllocator(int domain, Allocator *allocator);
extern void PyEval_SetProfile(int (*function)(void *, void *, int, void *), void *argument);
extern void *PyFrame_GetCode(void *frame);
extern void Py_DecRef(void *object);

static Allocator before[3];
static __thread uint64_t calls, bytes;
static __thread char *last;
static __thread size_t last_size;

static void *counted(void *block, size_t size) {
    calls++, bytes += size;
    return last = block, last_size = size, block;
}

static void *count_malloc(void *ctx, size_t size) {
    Allocator *real = ctx;
    return counted(real->malloc(real->ctx, size), size);
}

static void *count_calloc(void *ctx, size_t count, size_t size) {
    Allocator *real = ctx;
    return counted(real->calloc(real->ctx, count, size), count * size);
}

static void *count_realloc(void *ctx, void *block, size_t size) {
    Allocator *real = ctx;
    void *moved = real->realloc(real->ctx, block, size);
    return block == NULL ? counted(moved, size) : moved;
}

static void count_free(void *ctx, void *block) {
    Allocator *real = ctx;
    real->free(real->ctx, block);
}

void tally_install(void) {
    for (int domain = MEM; domain <= OBJ; domain++) {
        PyMem_GetAllocator(domain, &before[domain]);
        Allocator counting = {&before[domain], count_malloc, count_calloc, count_realloc, count_free};
        PyMem_SetAllocator(domain, &counting);
    }
}

void tally_read(uint64_t found[2]) {
    found[0] = calls, found[1] = bytes;
}

/* Stages. */
static struct { void *code; int stage; } table[SLOTS];
static struct { uint64_t calls, bytes, ns, frames; } spent[STAGES];
static int stack[DEPTH], depth, outermost;
static uint64_t seen_calls, seen_bytes, seen_ns;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static size_t slot(void *code) {
    size_t at = ((uintptr_t)code >> 4) % SLOTS;
    while (table[at].code != NULL && table[at].code != code) at = (at + 1) % SLOTS;
    return at;
}

void tally_stage(void *code, int stage) {
    size_t at = slot(code);
    table[at].code = code, table[at].stage = stage;
}

static int top(void) {
    return depth > 0 && depth <= DEPTH ? stack[depth - 1] : outermost;
}

static void settle(int stage) {
    spent[stage].calls += calls - seen_calls, spent[stage].bytes += bytes - seen_bytes, spent[stage].ns += now() - seen_ns;
}

static void resume(void) {
    seen_calls = calls, seen_bytes = bytes, seen_ns = now();
}

/* Python makes an object of a frame, or of a method of C, only because it is watched: no request pays for that one. */
static void forgive(char *object) {
    if (last != NULL && last <= object && object - last <= 32) calls--, bytes -= last_size, last = NULL;
}

static int profile(void *argument, void *frame, int what, void *result) {
    (void)argument;
    if (what == CALL) forgive(frame);
    if (what == C_CALL) forgive(result);
    if (what != CALL && what != RETURN) return 0;
    settle(top());
    if (what == RETURN) {
        depth -= depth > 0;
    } else {
        void *code = PyFrame_GetCode(frame);
        size_t at = slot(code);
        int stage = table[at].code == NULL || table[at].stage == INHERIT ? top() : table[at].stage;
        Py_DecRef(code);
        if (depth < DEPTH) stack[depth] = stage;
        depth++;
        spent[stage].frames++;
    }
    resume();
    return 0;
}

void tally_begin(int stage) {
    for (int n = 0; n < STAGES; n++) spent[n].calls = spent[n].bytes = spent[n].ns = spent[n].frames = 0;
    depth = 0, outermost = stage;
    PyEval_SetProfile(profile, NULL);
    resume();
}

void tally_end(uint64_t found[STAGES][4]) {
    PyEval_SetProfile(NULL, NULL);
    for (int n = 0; n < STAGES; n++)
        found[n][0] = spent[n].calls, found[n][1] = spent[n].bytes, found[n][2] = spent[n].ns, found[n][3] = spent[n].frames;
}

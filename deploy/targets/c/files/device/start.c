/* What runs before main in an emulator: floating point is switched on, memory cleared, files opened on the host. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t __stack, __bss_start, __bss_end;
extern void initialise_monitor_handles(void);
int main(void);
void count_wraps(void);

void start(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    memset(&__bss_start, 0, (size_t)((char *)&__bss_end - (char *)&__bss_start));
    initialise_monitor_handles();
    exit(main());
}

/* A fault ends the program with an error instead of never. */
static void fault(void) { _Exit(3); }

/* Stack, start, two kinds of faults, and the counter of instructions, which a long run has go round several times. */
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    [0] = &__stack, [1] = (void *)start, [2] = (void *)fault, [3] = (void *)fault, [15] = (void *)count_wraps};

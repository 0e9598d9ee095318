/* What runs before main in an emulator: floating point is switched on, memory cleared, files opened on the host. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t __stack, __bss_start, __bss_end;
extern void initialise_monitor_handles(void);
int main(void);

void start(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    memset(&__bss_start, 0, (size_t)((char *)&__bss_end - (char *)&__bss_start));
    initialise_monitor_handles();
    exit(main());
}

/* A fault ends the program with an error instead of never. */
static void fault(void) { _Exit(3); }

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {&__stack, (void *)start,
                                                                           (void *)fault, (void *)fault};

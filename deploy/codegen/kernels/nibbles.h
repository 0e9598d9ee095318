/* Look-ups of four bits of codes at once. */
#ifndef DTC_NIBBLES_H
#define DTC_NIBBLES_H

#include <stddef.h>
#include <stdint.h>

/* The sum of what `bytes` bytes of codes stand for, two look-ups a byte, table[16 * j + code] being that of their j-th four
 * bits. Four bytes a turn: they are joined to one number, which compilers for little-endian processors read at once. */
static inline float dtc_look_up_nibbles(const uint8_t *codes, size_t bytes, const float *table) {
    float low = 0, high = 0;
    const float *const end = table + bytes / 4 * 128;
    for (; table != end; codes += 4, table += 128) {
        const uint32_t word = codes[0] | (uint32_t)codes[1] << 8 | (uint32_t)codes[2] << 16 | (uint32_t)codes[3] << 24;
        low += table[word & 15];
        high += table[16 + (word >> 4 & 15)];
        low += table[32 + (word >> 8 & 15)];
        high += table[48 + (word >> 12 & 15)];
        low += table[64 + (word >> 16 & 15)];
        high += table[80 + (word >> 20 & 15)];
        low += table[96 + (word >> 24 & 15)];
        high += table[112 + (word >> 28)];
    }
    for (bytes %= 4; bytes > 0; --bytes, ++codes, table += 32) {
        low += table[*codes & 15];
        high += table[16 + (*codes >> 4)];
    }
    return low + high;
}

#endif

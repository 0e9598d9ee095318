/* Numbers of 16 bits: IEEE 754 binary16. */
#ifndef DTC_HALF_H
#define DTC_HALF_H

#include <stddef.h>
#include <stdint.h>

/* A finite one as float: exponents of 5 bits count from 15, those of 8 bits from 127, which the product makes up for. */
static inline float dtc_half(uint16_t half) {
    union {
        uint32_t bits;
        float value;
    } wide = {(uint32_t)(half & 0x7FFF) << 13};
    wide.value *= 0x1p112f;
    wide.bits |= (uint32_t)(half & 0x8000) << 16;
    return wide.value;
}

/* A number of one of two arrays, of which the other is NULL. */
static inline float dtc_number(const float *numbers, const uint16_t *halves, size_t i) {
    return halves ? dtc_half(halves[i]) : numbers[i];
}

#endif

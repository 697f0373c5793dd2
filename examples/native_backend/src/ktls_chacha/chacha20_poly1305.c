#include "chacha20_poly1305.h"

#include <string.h>

static uint32_t load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void store32(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)word;
    bytes[1] = (uint8_t)(word >> 8);
    bytes[2] = (uint8_t)(word >> 16);
    bytes[3] = (uint8_t)(word >> 24);
}

#define ROTATE(word, bits) ((word) << (bits) | (word) >> (32 - (bits)))
#define QUARTER(a, b, c, d)                                                                        \
    (a += b, d = ROTATE(d ^ a, 16), c += d, b = ROTATE(b ^ c, 12), a += b, d = ROTATE(d ^ a, 8),   \
     c += d, b = ROTATE(b ^ c, 7))

/* RFC 8439 2.3. */
static void block(const uint8_t key[32], uint32_t counter, const uint8_t nonce[12], uint8_t out[64])
{
    uint32_t state[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, x[16];
    int i;

    for (i = 0; i < 8; i++)
        state[4 + i] = load32(key + 4 * i);
    state[12] = counter;
    for (i = 0; i < 3; i++)
        state[13 + i] = load32(nonce + 4 * i);
    memcpy(x, state, sizeof(x));
    for (i = 0; i < 10; i++) {
        QUARTER(x[0], x[4], x[8], x[12]);
        QUARTER(x[1], x[5], x[9], x[13]);
        QUARTER(x[2], x[6], x[10], x[14]);
        QUARTER(x[3], x[7], x[11], x[15]);
        QUARTER(x[0], x[5], x[10], x[15]);
        QUARTER(x[1], x[6], x[11], x[12]);
        QUARTER(x[2], x[7], x[8], x[13]);
        QUARTER(x[3], x[4], x[9], x[14]);
    }
    for (i = 0; i < 16; i++)
        store32(out + 4 * i, x[i] + state[i]);
}

void chacha20_poly1305_xor(const uint8_t key[32], const uint8_t nonce[12], uint8_t *text,
                           size_t len)
{
    uint8_t stream[64];
    uint32_t counter = 1;
    size_t i, part;

    for (; len > 0; text += part, len -= part) {
        part = len < 64 ? len : 64;
        block(key, counter++, nonce, stream);
        for (i = 0; i < part; i++)
            text[i] ^= stream[i];
    }
}

/* RFC 8439 2.5, with five limbs of 26 bits. */
struct poly1305 {
    uint32_t r[5], h[5];
    uint8_t s[16];
};

static void poly_init(struct poly1305 *poly, const uint8_t key[32])
{
    poly->r[0] = load32(key) & 0x3ffffff;
    poly->r[1] = (load32(key + 3) >> 2) & 0x3ffff03;
    poly->r[2] = (load32(key + 6) >> 4) & 0x3ffc0ff;
    poly->r[3] = (load32(key + 9) >> 6) & 0x3f03fff;
    poly->r[4] = (load32(key + 12) >> 8) & 0x00fffff;
    memset(poly->h, 0, sizeof(poly->h));
    memcpy(poly->s, key + 16, 16);
}

/* Blocks of 16 bytes; the last one is filled with zeros, as RFC 8439 2.8 has it. */
static void poly_update(struct poly1305 *poly, const uint8_t *bytes, size_t len)
{
    const uint64_t r0 = poly->r[0], r1 = poly->r[1], r2 = poly->r[2], r3 = poly->r[3],
                   r4 = poly->r[4];
    uint64_t h0, h1, h2, h3, h4, d0, d1, d2, d3, d4;
    uint8_t padded[16];
    const uint8_t *at;
    size_t part;

    for (; len > 0; bytes += part, len -= part) {
        part = len < 16 ? len : 16;
        at = bytes;
        if (part < 16) {
            memset(padded, 0, sizeof(padded));
            memcpy(padded, bytes, part);
            at = padded;
        }
        h0 = poly->h[0] + (load32(at) & 0x3ffffff);
        h1 = poly->h[1] + ((load32(at + 3) >> 2) & 0x3ffffff);
        h2 = poly->h[2] + ((load32(at + 6) >> 4) & 0x3ffffff);
        h3 = poly->h[3] + ((load32(at + 9) >> 6) & 0x3ffffff);
        h4 = poly->h[4] + ((load32(at + 12) >> 8) | 1u << 24);
        d0 = h0 * r0 + 5 * (h1 * r4 + h2 * r3 + h3 * r2 + h4 * r1);
        d1 = h0 * r1 + h1 * r0 + 5 * (h2 * r4 + h3 * r3 + h4 * r2);
        d2 = h0 * r2 + h1 * r1 + h2 * r0 + 5 * (h3 * r4 + h4 * r3);
        d3 = h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + 5 * (h4 * r4);
        d4 = h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0;
        d1 += d0 >> 26, d2 += d1 >> 26, d3 += d2 >> 26, d4 += d3 >> 26;
        h0 = (d0 & 0x3ffffff) + 5 * (d4 >> 26);
        poly->h[0] = (uint32_t)(h0 & 0x3ffffff);
        poly->h[1] = (uint32_t)((d1 & 0x3ffffff) + (h0 >> 26));
        poly->h[2] = (uint32_t)(d2 & 0x3ffffff);
        poly->h[3] = (uint32_t)(d3 & 0x3ffffff);
        poly->h[4] = (uint32_t)(d4 & 0x3ffffff);
    }
}

static void poly_finish(struct poly1305 *poly, uint8_t tag[16])
{
    uint32_t *h = poly->h, g[5], carry, mask, words[4];
    uint64_t sum = 0;
    int round, i;

    for (round = 0; round < 2; round++) {
        for (carry = 0, i = 0; i < 5; i++) {
            h[i] += carry;
            carry = h[i] >> 26;
            h[i] &= 0x3ffffff;
        }
        h[0] += 5 * carry;
    }
    /* h, or h - p where that is not negative. */
    for (carry = 5, i = 0; i < 5; i++) {
        g[i] = h[i] + carry;
        carry = g[i] >> 26;
        g[i] &= 0x3ffffff;
    }
    mask = 0u - carry;
    for (i = 0; i < 5; i++)
        h[i] = (h[i] & ~mask) | (g[i] & mask);
    words[0] = h[0] | h[1] << 26;
    words[1] = h[1] >> 6 | h[2] << 20;
    words[2] = h[2] >> 12 | h[3] << 14;
    words[3] = h[3] >> 18 | h[4] << 8;
    for (i = 0; i < 4; i++) {
        sum += (uint64_t)words[i] + load32(poly->s + 4 * i);
        store32(tag + 4 * i, (uint32_t)sum);
        sum >>= 32;
    }
}

/* RFC 8439 2.8. */
void chacha20_poly1305_tag(const uint8_t key[32], const uint8_t nonce[12], const uint8_t *aad,
                           size_t aad_len, const uint8_t *text, size_t len, uint8_t tag[16])
{
    struct poly1305 poly;
    uint8_t first[64], lengths[16];
    int i;

    block(key, 0, nonce, first);
    poly_init(&poly, first);
    poly_update(&poly, aad, aad_len);
    poly_update(&poly, text, len);
    for (i = 0; i < 8; i++) {
        lengths[i] = (uint8_t)((uint64_t)aad_len >> 8 * i);
        lengths[8 + i] = (uint8_t)((uint64_t)len >> 8 * i);
    }
    poly_update(&poly, lengths, 16);
    poly_finish(&poly, tag);
}

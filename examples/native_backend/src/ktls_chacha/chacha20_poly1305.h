/* ChaCha20-Poly1305 (RFC 8439) in plain C: correct and short, not fast. */
#ifndef CHACHA20_POLY1305_H
#define CHACHA20_POLY1305_H

#include <stddef.h>
#include <stdint.h>

/* Encrypts or decrypts the text where it is. */
void chacha20_poly1305_xor(const uint8_t key[32], const uint8_t nonce[12], uint8_t *text,
                           size_t len);

/* The tag of an encrypted text and its additional data. */
void chacha20_poly1305_tag(const uint8_t key[32], const uint8_t nonce[12], const uint8_t *aad,
                           size_t aad_len, const uint8_t *text, size_t len, uint8_t tag[16]);

#endif

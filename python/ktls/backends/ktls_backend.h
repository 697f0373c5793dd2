/* A native backend of ktls: an AEAD that seals and opens records, called without Python's lock.
 *
 * An extension module makes a PyCapsule named KTLS_BACKEND_CAPSULE around one struct
 * ktls_backend, which stays where it is until the process ends, and gives it to the registry as the
 * attribute `capsule` of its backend (docs/backends.md).
 *
 * What a function may do: compute.  It must not call Python, wait, or keep a pointer that it was
 * given.  Calls with one cipher come one after another, from any thread; calls with different
 * ciphers at the same time.  In a forked child the ciphers of the parent are not used any more.
 */
#ifndef KTLS_BACKEND_H
#define KTLS_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#define KTLS_BACKEND_API_VERSION 1
#define KTLS_BACKEND_CAPSULE "ktls.backend.v1"

/* cipher_algorithm, as in FreeBSD's opencrypto/cryptodev.h. */
#define KTLS_CRYPTO_AES_NIST_GCM_16 25
#define KTLS_CRYPTO_CHACHA20_POLY1305 41

/* What a key is for.  The suites are AEADs: TLS 1.2 and 1.3 with the algorithms above. */
struct ktls_suite {
    uint32_t cipher_algorithm;
    uint32_t tls_vminor; /* 3 is TLS 1.2, 4 is TLS 1.3 */
    size_t key_len;      /* bytes: 16 or 32 */
};

/* One record.  The text is encrypted or decrypted where it is. */
struct ktls_record {
    uint64_t sequence;
    const uint8_t *nonce; /* 12 bytes */
    const uint8_t *aad;   /* what is authenticated beside the text */
    size_t aad_len;
    uint8_t *text;
    size_t text_len;
    uint8_t *tag; /* 16 bytes: written by seal, compared by open */
    uint32_t content_type;
};

struct ktls_backend {
    size_t size;          /* sizeof(struct ktls_backend) */
    uint32_t api_version; /* KTLS_BACKEND_API_VERSION */

    /* Not 0: it seals and opens this suite. */
    int (*takes)(const struct ktls_suite *suite);

    /* A cipher for this key, which is copied where it is needed later.  0, or an errno: the session
     * is refused. */
    int (*new_session)(const struct ktls_suite *suite, const uint8_t *key, void **cipher);

    /* 0.  Anything else ends the connection with EIO. */
    int (*seal)(void *cipher, struct ktls_record *record);

    /* 0, or EBADMSG: the tag is not that of the text.  Anything else ends the connection with EIO. */
    int (*open)(void *cipher, struct ktls_record *record);

    /* Wipes and frees a cipher, once. */
    void (*free)(void *cipher);
};

#endif

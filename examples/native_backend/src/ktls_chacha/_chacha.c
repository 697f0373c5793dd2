/* The functions of ktls_backend.h, and the module that hands them out. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ktls_backend.h>

#include "chacha20_poly1305.h"

struct cipher {
    uint8_t key[32];
};

static int takes(const struct ktls_suite *suite)
{
    return suite->cipher_algorithm == KTLS_CRYPTO_CHACHA20_POLY1305 && suite->key_len == 32;
}

static int new_session(const struct ktls_suite *suite, const uint8_t *key, void **out)
{
    struct cipher *cipher;

    if (!takes(suite))
        return EPROTONOSUPPORT;
    cipher = malloc(sizeof(*cipher));
    if (cipher == NULL)
        return ENOMEM;
    memcpy(cipher->key, key, sizeof(cipher->key));
    *out = cipher;
    return 0;
}

static int seal(void *opaque, struct ktls_record *record)
{
    const struct cipher *cipher = opaque;

    chacha20_poly1305_xor(cipher->key, record->nonce, record->text, record->text_len);
    chacha20_poly1305_tag(cipher->key, record->nonce, record->aad, record->aad_len, record->text,
                          record->text_len, record->tag);
    return 0;
}

static int open_record(void *opaque, struct ktls_record *record)
{
    const struct cipher *cipher = opaque;
    uint8_t tag[16], difference = 0;
    size_t i;

    chacha20_poly1305_tag(cipher->key, record->nonce, record->aad, record->aad_len, record->text,
                          record->text_len, tag);
    /* The same time whatever the bytes. */
    for (i = 0; i < sizeof(tag); i++)
        difference |= (uint8_t)(tag[i] ^ record->tag[i]);
    if (difference != 0)
        return EBADMSG;
    chacha20_poly1305_xor(cipher->key, record->nonce, record->text, record->text_len);
    return 0;
}

static void free_cipher(void *opaque)
{
    volatile uint8_t *key = ((struct cipher *)opaque)->key;
    size_t i;

    for (i = 0; i < 32; i++)
        key[i] = 0;
    free(opaque);
}

static struct ktls_backend backend = {
    .size = sizeof(struct ktls_backend),
    .api_version = KTLS_BACKEND_API_VERSION,
    .takes = takes,
    .new_session = new_session,
    .seal = seal,
    .open = open_record,
    .free = free_cipher,
};

static PyObject *capsule(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyCapsule_New(&backend, KTLS_BACKEND_CAPSULE, NULL);
}

static PyMethodDef methods[] = {
    {"capsule", capsule, METH_NOARGS, "The backend, for ktls.backends.register."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_chacha", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__chacha(void)
{
    return PyModuleDef_Init(&module);
}

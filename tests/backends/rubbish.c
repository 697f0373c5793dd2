/* Native backends that are not what they should be, for test_native.py. */
#include <errno.h>

#include <ktls_backend.h>

static int takes(const struct ktls_suite *suite)
{
    (void)suite;
    return 1;
}

static int works(const struct ktls_suite *suite, const uint8_t *key, void **cipher)
{
    (void)suite;
    (void)key;
    *cipher = NULL;
    return 0;
}

static int refuses(const struct ktls_suite *suite, const uint8_t *key, void **cipher)
{
    (void)suite;
    (void)key;
    (void)cipher;
    return ENOMEM;
}

static int returns_length(void *cipher, struct ktls_record *record)
{
    (void)cipher;
    return (int)record->text_len;
}

static int returns_minus_one(void *cipher, struct ktls_record *record)
{
    (void)cipher;
    (void)record;
    return -1;
}

static int returns_ebadmsg(void *cipher, struct ktls_record *record)
{
    (void)cipher;
    (void)record;
    return EBADMSG;
}

static void release(void *cipher)
{
    (void)cipher;
}

#define WHOLE .size = sizeof(struct ktls_backend), .api_version = KTLS_BACKEND_API_VERSION

struct ktls_backend older = {.size = sizeof(struct ktls_backend), .api_version = 0};
struct ktls_backend newer = {.size = sizeof(struct ktls_backend) + 64, .api_version = 2};
struct ktls_backend small = {.size = 24, .api_version = KTLS_BACKEND_API_VERSION};
struct ktls_backend empty = {WHOLE};
struct ktls_backend refusing = {WHOLE, takes, refuses, returns_length, returns_length, release};
struct ktls_backend lengths = {WHOLE, takes, works, returns_length, returns_length, release};
struct ktls_backend minus = {WHOLE, takes, works, returns_minus_one, returns_minus_one, release};
struct ktls_backend denying = {WHOLE, takes, works, returns_ebadmsg, returns_ebadmsg, release};

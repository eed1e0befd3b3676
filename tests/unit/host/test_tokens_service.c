/* Tokens over RPC; the file is one that can fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "node/host/token_change.h"
#include "node/host/tokens_service.h"
#include "pstorage/v1/tokens.pb-c.h"
#include "services_world.h"

/* A file of one token. */
static struct {
    bool has;
    int refuse, fail; /* at once; later */
} file;
static struct tokens *tokens;
static struct tokens_service *service;

static int keep(void *user, struct token_change *change)
{
    (void)user;
    if (file.refuse)
        return file.refuse;
    const int status = file.fail ? file.fail : change->gone && !file.has ? PS_ENOTFOUND : 0;
    if (status == 0)
        file.has = !change->gone;
    change->done(change, status);
    return 0;
}

static int add_service(struct rpc_server *server)
{
    const struct tokens_service_config config = {.tokens = tokens, .keep = keep};
    return tokens_service_create(server, &config, &service);
}

static int setup(void **state)
{
    memset(&file, 0, sizeof file);
    return tokens_create(&tokens) ? -1 : world_setup_with(state, add_service);
}

static int teardown(void **state)
{
    const int rc = world_teardown(state);
    tokens_service_destroy(service);
    tokens_destroy(tokens);
    return rc;
}

static const uint8_t hash[TOKEN_HASH_BYTES] = {7};

static bool opens(void)
{
    struct token found;
    return tokens_find(tokens, hash, &found);
}

static int put(struct services_world *w, int role)
{
    struct answer a = {0};
    Pstorage__V1__PutTokenRequest m = PSTORAGE__V1__PUT_TOKEN_REQUEST__INIT;
    Pstorage__V1__Token token = PSTORAGE__V1__TOKEN__INIT;
    token.name = (char[]){"t"};
    token.role = (Pstorage__V1__TokenRole)role;
    token.hash = (ProtobufCBinaryData){sizeof hash, (uint8_t *)(uintptr_t)hash};
    m.token = &token;
    (void)call(w, &a, &pstorage__v1__tokens__descriptor, "Put", &m.base);
    const int status = a.status;
    answer_free(&a);
    return status;
}

static int delete_token(struct services_world *w)
{
    struct answer a = {0};
    Pstorage__V1__DeleteTokenRequest m = PSTORAGE__V1__DELETE_TOKEN_REQUEST__INIT;
    m.name = (char[]){"t"};
    (void)call(w, &a, &pstorage__v1__tokens__descriptor, "Delete", &m.base);
    const int status = a.status;
    answer_free(&a);
    return status;
}

static void a_token_opens_once_it_is_on_disk(void **state)
{
    file.fail = PS_EIO;
    assert_int_equal(put(*state, 3), PS_EIO);
    assert_false(opens());
    file.fail = 0;
    assert_int_equal(put(*state, 0), PS_EINVAL);
    assert_int_equal(put(*state, 4), PS_EINVAL);
    assert_int_equal(put(*state, 3), 0);
    assert_true(opens());
}

static void a_deletion_that_failed_is_repeated_until_it_is_on_disk(void **state)
{
    assert_int_equal(delete_token(*state), PS_ENOTFOUND);
    assert_int_equal(put(*state, 3), 0);
    file.fail = PS_EIO;
    assert_int_equal(delete_token(*state), PS_EIO);
    assert_false(opens());
    file.fail = 0;
    file.refuse = PS_ELIMIT;
    assert_int_equal(delete_token(*state), PS_ELIMIT);
    file.refuse = 0;
    assert_int_equal(delete_token(*state), 0);
    assert_false(file.has);
    assert_int_equal(delete_token(*state), PS_ENOTFOUND);
    /* Here, and not in the file: as good as deleted. */
    assert_int_equal(put(*state, 3), 0);
    file.has = false;
    assert_int_equal(delete_token(*state), 0);
    assert_false(opens());
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_token_opens_once_it_is_on_disk),
        TEST(a_deletion_that_failed_is_repeated_until_it_is_on_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

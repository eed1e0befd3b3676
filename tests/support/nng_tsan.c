/* What ThreadSanitizer can't know of NNG, which is not instrumented: the reference count behind which a
 * dialer's mutex is destroyed. Linked into a program, this suppresses what is said of a mutex that NNG itself
 * destroys, and of no other: races of our own mutexes are told, and so is what our callbacks do on NNG's
 * threads.
 *
 * The library is stripped, so a suppression can't name its function; `called_from_lib` would lose what its
 * locks order, too. So whose mutex it is shows in the name of the function that destroys it. */
#ifdef __SANITIZE_THREAD__
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

int __interceptor_pthread_mutex_destroy(pthread_mutex_t *mutex); /* the sanitizer's */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:nng_destroys_mutex\n";
}

static int __attribute__((noinline)) nng_destroys_mutex(pthread_mutex_t *mutex)
{
    return __interceptor_pthread_mutex_destroy(mutex);
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    Dl_info caller;
    const bool nng = dladdr(__builtin_return_address(0), &caller) && strstr(caller.dli_fname, "/libnng.so");
    return nng ? nng_destroys_mutex(mutex) : __interceptor_pthread_mutex_destroy(mutex);
}
#else
typedef int nothing_to_suppress; /* a file has to declare something */
#endif

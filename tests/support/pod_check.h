/* Looks through all that a pod knows, from within: for tests and the simulator. */
#ifndef PS_TESTS_SUPPORT_POD_CHECK_H
#define PS_TESTS_SUPPORT_POD_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "node/pod/survey.h"

struct pod;

/* Nothing is under way in it and nothing is left to do, apart from requests to its device. */
bool pod_check_is_quiet(const struct pod *pod);

/* A survey of a quiet pod, ended; the caller destroys it. `with` says how much memory it has, what was lost
 * and who is told; the rest is the pod's. NULL: a step said that it can't go on. */
struct survey *pod_check_survey(struct pod *pod, const struct survey_config *with, bool (*step)(void *user),
                                void *user);

/* Of a quiet pod: every block's owned references equal its count, every page has one owner, L2P knows exactly
 * the referenced blocks, space and segments add up. `step` turns the pod and completes device requests, for
 * pages that must be read; false: it can't. True: all is right, or a step said that it can't go on; false:
 * `why` says what is not. */
bool pod_check_counts(struct pod *pod, bool (*step)(void *user), void *user, char *why, size_t size);

#endif

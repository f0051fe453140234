/* Which instruction groups the host's processor has. */
#ifndef TESTS_ORACLE_HOST_FEATURES_H
#define TESTS_ORACLE_HOST_FEATURES_H

#include "arch/x86_64/decode.h"

bool host_has_feature(enum x86_feature feature);

#endif

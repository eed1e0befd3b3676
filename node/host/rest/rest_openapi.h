/* The OpenAPI 3.1 document, made from the tables of routes, arguments and schemas. Pure. */
#ifndef PS_NODE_HOST_REST_REST_OPENAPI_H
#define PS_NODE_HOST_REST_REST_OPENAPI_H

#include "node/host/rest/json_write.h"

void rest_openapi(struct json_out *out);

#endif

# The REST API: what requests and answers are. README: rest/README.md
ps_core(ps_rest_core rest/json_read.c rest/json_write.c rest/rest_openapi.c rest/rest_page.c rest/rest_problem.c
  rest/rest_prometheus.c rest/rest_request.c rest/rest_routes.c rest/rest_schema.c DEPS ps_common m)
ps_core(ps_rest_access rest/rest_access.c DEPS ps_rest_core PkgConfig::CRYPTO)

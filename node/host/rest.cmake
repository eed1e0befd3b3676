# The REST API: what requests and answers are (ps_rest_core), what they do (ps_rest_actions, by libpstorage), how they come
# and go (ps_rest_server). README: rest/README.md
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
ps_core(ps_rest_core rest/json_read.c rest/json_write.c rest/rest_openapi.c rest/rest_page.c rest/rest_problem.c
  rest/rest_prometheus.c rest/rest_request.c rest/rest_routes.c rest/rest_schema.c
  rest/rest_schema_analytics.c DEPS ps_common m)
include(${CMAKE_CURRENT_LIST_DIR}/rest/pages.cmake)
ps_core(ps_rest_pages rest/rest_pages.c ${pages_made}/rest_pages_table.c)
ps_core(ps_rest_actions rest/rest_actions.c rest/rest_analytics.c rest/rest_data.c rest/rest_figures.c rest/rest_find.c rest/rest_images.c
  DEPS ps_rest_core)
ps_core(ps_rest_access rest/rest_access.c DEPS ps_rest_core PkgConfig::CRYPTO)
ps_edge(ps_rest_server rest/rest_listen.c rest/rest_server_mhd.c rest/rest_stream_mhd.c
  DEPS ps_rest_access ps_rest_actions ps_rest_pages ps_client ps_tokens ps_log PkgConfig::MICROHTTPD PkgConfig::CRYPTO Threads::Threads)

# What the daemon is assembled from, besides the ways in. The tests link a pod of their own.
ps_core(ps_image_event image_event.c DEPS ps_common)
# Tokens of the REST API: shared between two threads, and how they are changed.
ps_edge(ps_tokens tokens_shared.c DEPS ps_common Threads::Threads)
ps_core(ps_tokens_service tokens_service.c DEPS ps_rpc_core ps_proto ps_common)
ps_edge(ps_catalog catalog_sqlite.c catalog_uv.c DEPS ps_tokens ps_image_event ps_common ps_log ps_loop ps_sqlite PkgConfig::SQLITE PkgConfig::UV)
ps_edge(ps_analytics_uv analytics_uv.c DEPS ps_analytics_history ps_image_use ps_common ps_log ps_loop PkgConfig::UV)
ps_edge(ps_reactor reactor_uv.c DEPS ps_common ps_log PkgConfig::UV)

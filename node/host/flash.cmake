# The node's flash devices as people ask about them: the service, and the edge that carries jobs out.
ps_core(ps_flash_service flash_service.c DEPS ps_rpc_core ps_proto ps_common)
ps_edge(ps_drives drives_uv.c drives_sysfs.c drives_watch_uv.c DEPS ps_nvme_admin ps_log ps_common PkgConfig::UV)

ps_edge(ps_flash_devices flash_devices_uv.c flash_devices_change_uv.c DEPS ps_array ps_flash ps_blkdev ps_nand_uv ps_log ps_common PkgConfig::UV)
ps_core(ps_devices_service devices_service.c DEPS ps_rpc_core ps_proto ps_common)

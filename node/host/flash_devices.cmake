ps_edge(ps_flash_devices flash_devices_uv.c DEPS ps_array ps_blkdev ps_nand_uv ps_log ps_common PkgConfig::UV)

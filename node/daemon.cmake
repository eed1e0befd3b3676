# pstoraged, assembled by main.c from everything below; needs all its parts.
if(TARGET ps_pod AND TARGET ps_nbd_uv AND TARGET ps_services)
  add_executable(pstoraged main.c start_analytics.c start_check.c start_cluster.c start_drives.c start_flash.c start_host.c start_rest.c)
  target_link_libraries(pstoraged PRIVATE
    ps_nbd_uv ps_rest_server ps_services ps_tokens_service ps_pods_service ps_flash_service ps_drives ps_cluster ps_heartbeat_uv ps_rpc ps_cluster_key ps_catalog ps_analytics_uv ps_flash_devices ps_devices_service ps_reactor ps_data_dir ps_pod ps_blkdev ps_nand_uv ps_large_memory ps_start ps_log ps_common PkgConfig::UV)
  install(TARGETS pstoraged RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

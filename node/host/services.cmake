# The RPC services; who links them brings a pod.
ps_core(ps_services
  services.c services_analytics.c services_block_io.c services_change.c services_clones.c services_events.c
  services_health.c services_image.c services_latency.c services_measure.c services_snapshots.c
  services_status.c services_volumes.c
  DEPS ps_analytics ps_host_image ps_image_use ps_rpc_core ps_common)

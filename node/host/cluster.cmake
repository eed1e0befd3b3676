# What ties a member of a pod to the others: pure but for the RPC transport that it is given.
ps_core(ps_formation formation.c DEPS ps_common)
ps_core(ps_replication_proto replication_proto.c DEPS ps_configuration_proto ps_proto ps_common)
ps_core(ps_cluster cluster.c cluster_heard.c cluster_links.c cluster_look.c forward.c mediator_link.c peers.c replication_service.c
  DEPS ps_formation ps_replication_proto ps_rpc_core ps_pod ps_replication)
ps_edge(ps_heartbeat_uv heartbeat_uv.c
  DEPS ps_replication_proto ps_replication ps_rpc ps_loop ps_common PkgConfig::UV)
ps_core(ps_pods_service pods_service.c DEPS ps_cluster)

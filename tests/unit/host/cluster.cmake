ps_test(test_formation test_formation.c DEPS ps_formation)
ps_test(test_replication_proto test_replication_proto.c DEPS ps_replication_proto)
ps_test(test_peers test_peers.c DEPS ps_cluster)
ps_test(test_mediator_link test_mediator_link.c ../mediator/mediator_rig.c ../mediator/mediator_served.c
  DEPS ps_cluster ps_mediator_service ps_mediator_store_mem)
ps_test(test_heartbeat_uv test_heartbeat_uv.c ${CMAKE_SOURCE_DIR}/tests/support/nng_tsan.c
  DEPS ps_heartbeat_uv ps_log)
add_library(ps_cluster_world STATIC cluster_world.c)
target_link_libraries(ps_cluster_world PUBLIC ps_pods_service ps_mediator_service ps_mediator_store_mem)
ps_test(test_cluster test_cluster.c DEPS ps_cluster_world)
ps_test(test_pods_service test_pods_service.c DEPS ps_cluster_world)

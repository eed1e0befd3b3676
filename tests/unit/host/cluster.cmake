ps_test(test_formation test_formation.c DEPS ps_formation)
ps_test(test_replication_proto test_replication_proto.c DEPS ps_replication_proto)
ps_test(test_peers test_peers.c DEPS ps_cluster)

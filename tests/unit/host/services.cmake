foreach(part analytics images block_io events latency measure)
  ps_test(test_services_${part} test_services_${part}.c services_world.c DEPS ps_services ps_pod_fake)
endforeach()

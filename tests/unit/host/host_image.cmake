ps_test(test_host_image test_host_image.c DEPS ps_services ps_host_image ps_pod_fake)

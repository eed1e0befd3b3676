ps_test(test_host_image test_host_image.c DEPS ps_hosts_rig)
ps_test(test_host_image_lost test_host_image_lost.c DEPS ps_hosts_rig)

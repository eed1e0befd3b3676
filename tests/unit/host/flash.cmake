ps_test(test_flash_service test_flash_service.c services_world.c DEPS ps_flash_service ps_services ps_pod_fake)
ps_test(test_drive_smart test_drive_smart.c DEPS ps_drive_smart)

ps_test(test_catalog_sqlite test_catalog_sqlite.c DEPS ps_catalog)
ps_test(test_catalog_uv test_catalog_uv.c DEPS ps_catalog)
ps_test(test_reactor_uv test_reactor_uv.c DEPS ps_reactor)
ps_test(test_image_event test_image_event.c DEPS ps_image_event)

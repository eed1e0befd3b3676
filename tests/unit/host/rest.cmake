ps_test(test_json rest/test_json.c DEPS ps_rest_core)
ps_test(test_rest_request rest/test_rest_request.c DEPS ps_rest_core)
ps_test(test_rest_answers rest/test_rest_answers.c DEPS ps_rest_access PkgConfig::CJSON)
ps_test(test_rest_pages rest/test_rest_pages.c DEPS ps_rest_pages)

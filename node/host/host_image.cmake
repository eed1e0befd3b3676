# Images as hosts have them open: at the pod here, or by the primary. Who links it brings a pod.
ps_core(ps_host_image host_image.c host_image_remote.c host_images.c primary_link.c DEPS ps_rpc_core ps_proto ps_common)

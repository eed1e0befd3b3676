ps_core(ps_nbd nbd_buffers.c nbd_handshake.c nbd_output.c nbd_reply.c nbd_session.c nbd_transmit.c DEPS ps_host_image ps_common)
ps_edge(ps_nbd_uv nbd_listen_uv.c nbd_uv.c DEPS ps_nbd PkgConfig::UV)

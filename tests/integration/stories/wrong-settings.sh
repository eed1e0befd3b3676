# A wrong value stops the start with a message that names the setting and the value; nothing is made on disk.

node_refuses 'PSTORAGE_MEMORY_BUDGET.*lots' PSTORAGE_MEMORY_BUDGET=lots
node_refuses 'PSTORAGE_MEMORY_BUDGET.*-5' PSTORAGE_MEMORY_BUDGET=-5
node_refuses 'PSTORAGE_MEMORY_BUDGET' PSTORAGE_MEMORY_BUDGET=1
node_refuses 'PSTORAGE_MEMORY_BUDGET.*1000T' PSTORAGE_MEMORY_BUDGET=1000T
node_refuses 'PSTORAGE_NBD_LISTEN.*nowhere' PSTORAGE_NBD_LISTEN=nowhere
node_refuses 'PSTORAGE_NBD_LISTEN.*99999' PSTORAGE_NBD_LISTEN=127.0.0.1:99999
node_refuses 'PSTORAGE_RPC_LISTEN.*http' PSTORAGE_RPC_LISTEN=http://127.0.0.1:1
node_refuses 'PSTORAGE_DEDUPE_FINGERPRINT.*md5' PSTORAGE_DEDUPE_FINGERPRINT=md5
node_refuses 'PSTORAGE_DEDUPE_ENABLED.*perhaps' PSTORAGE_DEDUPE_ENABLED=perhaps
node_refuses 'PSTORAGE_COMPRESSION_ALGORITHM.*gzip' PSTORAGE_COMPRESSION_ALGORITHM=gzip
node_refuses 'PSTORAGE_DEBUG.*2x' PSTORAGE_DEBUG=2x
node_refuses 'PSTORAGE_FLASH_DEVICES.*floppy' PSTORAGE_FLASH_DEVICES=floppy:/dev/fd0
node_refuses 'PSTORAGE_FLASH_DEVICES.*many' "PSTORAGE_FLASH_DEVICES=file:$TMP/f,size=many"
node_refuses 'size|small' "PSTORAGE_FLASH_DEVICES=file:$TMP/f,size=1M"
node_refuses '127M.*too small.*128M' "PSTORAGE_FLASH_DEVICES=file:$TMP/f,size=127M"
[ ! -e "$TMP/f" ] || fail "a refused start left a flash file, which another size would have to be refused for"
node_refuses 'data-dirr|unknown' -- --data-dirr "$TMP/x"
node_refuses 'memory-budget.*none|PSTORAGE_MEMORY_BUDGET.*none' -- --memory-budget none
[ ! -e "$DATA" ] || [ -z "$(ls -A "$DATA")" ] || fail "a refused start left files: $(ls -A "$DATA")"

say "== help and version end well"
pstoraged --help | grep PSTORAGE_MEMORY_BUDGET >/dev/null
pstoraged --version | grep '[0-9]\.[0-9]'

# Runs PostgreSQL on its volume: makes the database at the first start, and lets in the service's
# role, which owns it and may do nothing else, and a loader, which makes those of data sets beside
# it. The superuser has no password and comes in through the socket alone, which nobody but who may
# enter the pod reaches.
# Read by `sh -eu`: $PGDATA, $PGDATABASE, $PGUSER (the service's role), $LOADER, $MEMORY_MB,
# $PASSWORD_FILE, $LOADER_PASSWORD_FILE.
umask 077
# A statement that fails would be written to the log, and one of them holds the password.
single() {
  postgres --single -c exit_on_error=on -c log_min_error_statement=panic -D "$1" postgres > /dev/null
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Made whole beside its place: a start that was cut off leaves nothing that looks made.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
    --data-checksums --auth-local=peer --auth-host=reject
  single "$PGDATA.new" << END
CREATE ROLE $PGUSER LOGIN
CREATE DATABASE $PGDATABASE OWNER $PGUSER
END
  mv "$PGDATA.new" "$PGDATA"
fi
# The volume may have been made readable to its group when it was mounted; the server refuses that.
chmod 0700 "$PGDATA"
cat > "$PGDATA/pg_hba.conf" << END
local all postgres peer
host all $PGUSER,$LOADER all scram-sha-256
END
# At each start: a volume that was kept may come from before the passwords, or before the loader.
single "$PGDATA" << END
ALTER ROLE $PGUSER PASSWORD '$(cat "$PASSWORD_FILE")'
DO 'BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = ''$LOADER'') THEN CREATE ROLE $LOADER; END IF; END'
ALTER ROLE $LOADER LOGIN CREATEDB PASSWORD '$(cat "$LOADER_PASSWORD_FILE")'
GRANT $PGUSER TO $LOADER
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC
REVOKE CONNECT ON DATABASE template1 FROM PUBLIC
END
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql \
  -c shared_buffers="$((MEMORY_MB / 4))MB" -c huge_pages=off -c password_encryption=scram-sha-256

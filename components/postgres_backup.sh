# Writes a backup of the database to the volume of the backups, and keeps the last ones.
# Read by `sh -eu`: $BACKUPS (the directory), $VOLUME (where it is), $KEEP, and libpq's variables.
umask 077
mkdir -p "$BACKUPS"
cd "$BACKUPS"
rm -f ./*.partial
name="$(date -u +%Y%m%dT%H%M%SZ).dump"
pg_dump --format=custom --no-password --file="$name.partial"
# What cannot be read again is no backup.
pg_restore --list "$name.partial" > /dev/null
sync
mv "$name.partial" "$name"
echo "wrote $name, $(wc -c < "$name") bytes"
ls -1r ./*.dump | tail -n "+$((KEEP + 1))" | while read -r old; do rm -f "$old"; echo "removed $old"; done
# The backups of a data set go after its database.
for it in "$VOLUME"/*_????????????/; do
  [ -d "$it" ] || continue
  name="$(basename "$it")"
  found="$(psql --no-psqlrc --no-password --tuples-only --no-align --set=name="$name" << 'END'
SELECT count(*) FROM pg_catalog.pg_database WHERE datname = :'name'
END
)"
  if [ "$found" = 0 ]; then rm -rf "$it"; echo "removed the backups of $name"; fi
done

# Makes the database what it was at a backup: all of it in one transaction, or nothing.
# Read by `sh -eu`: $BACKUPS (the directory), $BACKUP (a file in it; empty: the newest), and
# libpq's variables.
umask 077
mkdir -p "$BACKUPS"
cd "$BACKUPS"
from="${BACKUP:-$(ls -1 | grep '\.dump$' | tail -n 1)}"
if [ ! -s "$from" ]; then
  echo "error: there is no backup ${from:-at all}; there are: $(ls -1 | tr '\n' ' ')" >&2
  exit 1
fi
# Of a backup that cannot be read to its end nothing is restored.
pg_restore --no-owner --file=/tmp/backup.sql "$from"
# What was made since is in no backup, and would be in the way of who makes it again.
psql --no-psqlrc --no-password --quiet --single-transaction --set=ON_ERROR_STOP=1 \
  --output=/dev/null --command='DROP OWNED BY CURRENT_USER CASCADE' --file=/tmp/backup.sql
echo "restored $from"

# What emulates foreign programs on this host, and what could: a word that says what the line is, then its content.
set -euo pipefail
shopt -s nullglob
handlers=/proc/sys/fs/binfmt_misc
state=/var/lib/buildfleet-emulation

printf 'machine %s\n' "$(uname -m)"
for file in "$handlers"/*; do
    name=${file##*/}
    case $name in register | status) continue ;; esac
    printf 'handler %s\n' "$name"
    sed 's/^/  /' "$file"
done
for file in /usr/lib/binfmt.d/*.conf /usr/local/lib/binfmt.d/*.conf /run/binfmt.d/*.conf /etc/binfmt.d/*.conf; do
    while IFS= read -r line || [ -n "$line" ]; do
        interpreter=$(cut -d: -f7 <<<"$line")
        case $file in
            */buildfleet-*) printf 'kept %s\n' "$line" ;;
            *) [ ! -x "$interpreter" ] || printf 'offered %s\n' "$line" ;;
        esac
    done < <(grep '^:' "$file" || true)
done
for file in "$state"/*/*; do
    printf 'user %s %s\n' "$(basename "$(dirname "$file")")" "${file##*/}"
done

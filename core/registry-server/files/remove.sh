# Stops a registry and takes away all that was put there; what it stores stays, unless that is to go, too.
# From the settings: NAME, UNIT, FOLDER, SCRIPTS, BINARIES, STORAGE, DATA.

remove_registry
if [ "$DATA" = remove ]; then
    rm -rf "${STORAGE:?}"
    remove_user
fi

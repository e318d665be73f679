# shellcheck shell=bash
# Installs Debian's packages, for the scripts beside this file, which source it. It starts no service.

readonly POLICY=/usr/sbin/policy-rc.d

step() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
fail() { printf '\nscripts/%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1 || [[ -x "/usr/sbin/$1" ]]; }

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

can_be_root() { ((EUID == 0)) || has sudo; }
has_apt() { has apt-get && can_be_root; }

apt_updated=
update_package_lists() {
    if [[ -n $apt_updated ]] || ! has_apt; then return; fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    apt_updated=yes
}

# Installs packages, and fails if that would remove another package.
install() { # packages
    has_apt || fail "please install: $* (there is no apt-get, or neither root nor sudo)"
    note "installing $*"
    update_package_lists
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "$@" >/dev/null
}

# Installs only the programs of a server. Its service is not started, not even briefly before
# it could be configured, and does not start at boot.
install_server() { # service, packages
    local service=$1
    shift
    if [[ -e /etc/init.d/$service ]]; then
        # The service exists already and is in use: it stays as it is.
        install "$@"
    elif [[ -e $POLICY ]]; then
        # Containers often have such a file, with the same effect.
        install "$@"
        disable_service "$service"
    else
        update_package_lists
        (
            trap 'as_root rm -f "$POLICY"' EXIT
            printf '#!/bin/sh\n# While hostmatch installs packages, no service starts. Left behind? Remove it.\nexit 101\n' |
                as_root tee "$POLICY" >/dev/null
            as_root chmod 755 "$POLICY"
            install "$@"
        )
        disable_service "$service"
    fi
}

disable_service() { # service
    as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
    # Erlang's name server, which comes with RabbitMQ, would listen on every address.
    if has systemctl; then as_root systemctl disable --quiet epmd.socket epmd.service 2>/dev/null || true; fi
}
